package proxy

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestCloseAtOnce(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	e.journal.hold()
	c.observe(1, 2)
	c.close(false, 2)
	e.journal.awaitFilling(2)
	e.journal.release()
	c.acks(1, 2)
	c.status(0, pb.StreamStatus_STATE_CLOSED, "closed at sequence 2")
	c.end(codes.OK)
	closed := e.journal.records(wal.KindSessionClosed)
	if len(closed) != 1 || closed[0].Sequence != 2 || closed[0].Session.String() != c.id {
		t.Fatalf("journaled as %+v", closed)
	}
	again := e.connect()
	again.send(initOf(c.id))
	again.end(codes.FailedPrecondition, "was closed by its client")
}

func TestCloseDrains(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	c.observe(1, 2, 3)
	c.close(true, 3)
	c.observe(4) // after the close: still one answer
	if err := c.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	c.acks(1, 2, 3)
	c.status(4, pb.StreamStatus_STATE_ERROR, "the session is closed")
	if n := len(e.journal.records(wal.KindSessionClosed)); n != 1 {
		t.Fatalf("%d closes are durable, want 1, at once", n)
	}
	c.status(0, pb.StreamStatus_STATE_ACTIVE, "closing: 3 accepted observations are left")
	writes := e.journal.records(wal.KindWrite)
	e.ledger.set(func() { e.ledger.dead[writes[0].Session] = 1 })
	e.ledger.settle(writes[0].Index, writes[1].Index)
	c.status(0, pb.StreamStatus_STATE_ACTIVE, "1 accepted observations are left", "1 are dead letters")
	e.ledger.settle(writes[2].Index)
	c.status(0, pb.StreamStatus_STATE_CLOSED, "closed at sequence 3", "1 of them as dead letters")
	c.end(codes.OK)
}

func TestCloseOfMoreThanWasAccepted(t *testing.T) {
	for last, missing := range map[uint64]string{3: "send 3 to 3", 5: "send 3 to 5"} {
		for _, drain := range []bool{true, false} {
			e := newEdge(t, Config{})
			c := e.begin("", &pb.StreamInit{})
			c.observe(1, 2)
			c.close(drain, last)
			c.observe(3)
			c.acks(1, 2)
			c.status(0, pb.StreamStatus_STATE_ERROR, fmt.Sprintf("last_sequence is %d", last), "last accepted is 2", missing)
			c.acks(3)
			if n := len(e.journal.records(wal.KindSessionClosed)); n != 0 {
				t.Errorf("%d closes were journaled", n)
			}
		}
	}
}

func TestCloseThatFindsNoRoomLeavesTheSessionOpen(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	c.observe(1)
	c.acks(1)
	e.journal.set(func() { e.journal.refuse = wal.ErrFull })
	c.close(false, 0)
	c.status(0, pb.StreamStatus_STATE_OVERLOADED, "resend from 2")
	c.observe(2)
	c.acks(2)
}

func TestCloseWaitsForWhatIsInFlight(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	e.journal.hold()
	c.observe(1, 2)
	c.close(false, 2)
	e.journal.awaitFilling(2)
	e.journal.set(func() { e.journal.refuse = wal.ErrFull })
	e.journal.release()
	c.status(1, pb.StreamStatus_STATE_OVERLOADED)
	c.status(2, pb.StreamStatus_STATE_OVERLOADED)
	c.status(0, pb.StreamStatus_STATE_ERROR, "last_sequence is 2, but the last accepted is 0: send 1 to 2")
}

func TestSessionIsClosedWhileAnotherStreamWaitsForIt(t *testing.T) {
	e := newEdge(t, Config{})
	old := e.begin("", &pb.StreamInit{})
	e.journal.hold()
	old.close(false, 0)
	e.journal.awaitFilling(1)
	heir := e.connect()
	heir.send(initOf(old.id))
	await(t, "the heir to wait", func() bool { return old.fenced(e) })
	e.journal.release()
	heir.end(codes.FailedPrecondition, "was closed by its client")
}

func TestClientVanishesWhileDraining(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	c.observe(1)
	c.close(true, 1)
	c.acks(1)
	e.journal.await(func() bool { return len(e.journal.durable) == 3 })
	c.cancel()
	e.awaitStreams(0)
	again := e.connect()
	again.send(initOf(c.id))
	again.end(codes.FailedPrecondition)
}
