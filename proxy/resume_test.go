package proxy

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func initOf(id string) *pb.ObservationRequest {
	return &pb.ObservationRequest{SessionId: id, Operation: &pb.ObservationRequest_Init{Init: &pb.StreamInit{}}}
}

func (e *edge) awaitStreams(n int64) {
	e.t.Helper()
	await(e.t, "the streams to end", func() bool { return e.streamCount.Load() == n })
}

// await polls a condition that nothing announces.
func await(t *testing.T, what string, ready func() bool) {
	t.Helper()
	deadline := time.Now().Add(testTime)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ready() {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s in vain", what)
		}
		<-tick.C
	}
}

func TestHalfCloseThenResume(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{}, "engram-priority", "low")
	e.journal.hold()
	c.observe(1, 2, 3)
	if err := c.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	e.journal.awaitFilling(3)
	e.journal.release()
	c.acks(1, 2, 3)
	c.end(codes.OK)

	again := e.connect("engram-priority", "high") // a session keeps its space and lane
	r := initOf(c.id)
	r.MemorySpaceId = "another"
	again.send(r)
	ack := again.recv().GetInitAck()
	if ack.GetSessionId() != c.id || ack.GetInitialSequence() != 3 {
		t.Fatalf("resumed as %v, want %s after 3", ack, c.id)
	}
	again.id = c.id
	again.observe(4)
	again.acks(4)
	last := e.journal.records(wal.KindWrite)[3]
	if last.Space != "default" || last.Lane != wal.LaneLow {
		t.Errorf("goes on in %q with priority %v", last.Space, last.Lane)
	}
}

func TestVanishedClientResumesAfterItsLastDurable(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	c.observe(1)
	c.acks(1)
	e.journal.hold()
	c.observe(2, 3)
	e.journal.awaitFilling(2)
	c.cancel() // with two writes in flight
	back := e.connect()
	back.send(initOf(c.id))
	e.journal.release()
	if ack := back.recv().GetInitAck(); ack.GetInitialSequence() != 3 {
		t.Errorf("resumed after %v, want 3: durable, though never acked", ack)
	}
}

func TestTakeOver(t *testing.T) {
	e := newEdge(t, Config{})
	old := e.begin("", &pb.StreamInit{})
	old.observe(1)
	old.acks(1)
	e.journal.hold()
	old.observe(2, 3)
	e.journal.awaitFilling(2)

	heir := e.connect()
	heir.send(initOf(old.id))
	await(t, "the fence", func() bool { return old.fenced(e) })
	old.observe(4) // too late: the session is not its any more
	released := time.Now()
	e.journal.release()
	res := heir.recv()
	if ack := res.GetInitAck(); ack.GetInitialSequence() != 3 {
		t.Fatalf("the heir was told %v, want 3: the old one's writes were in flight", ack)
	}
	if at := res.GetServerTimestamp().AsTime(); at.Before(released) {
		t.Errorf("the heir was answered at %v, before the fsync of the old one's writes at %v", at, released)
	}
	heir.id = old.id
	heir.observe(4)
	heir.acks(4)
	for { // what was durable may still have been acked
		if _, err := old.stream.Recv(); err != nil {
			wantStatus(t, err, codes.Aborted, "another stream has taken session "+old.id)
			break
		}
	}
	if n := len(e.journal.records(wal.KindWrite)); n != 4 {
		t.Errorf("%d records, want 4", n)
	}
}

func TestTakeOverFromAClientThatDoesNotRead(t *testing.T) {
	e := newEdge(t, Config{AnswerBytes: 4 << 10})
	old := e.begin("", &pb.StreamInit{})
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		for seq := uint64(1); ; seq++ {
			if old.stream.Send(observationOf(seq, episode(""))) != nil {
				return // the stream has ended
			}
		}
	}()
	await(t, "the receiver to stop reading", e.stalled())
	heir := e.begin(old.id, &pb.StreamInit{})
	if n := uint64(len(e.journal.records(wal.KindWrite))); heir.first != n {
		t.Errorf("the heir goes on after %d, and %d are durable", heir.first, n)
	}
	heir.observe(heir.first + 1)
	heir.acks(heir.first + 1)
	for {
		if _, err := old.stream.Recv(); err != nil {
			wantStatus(t, err, codes.Aborted)
			break
		}
	}
	<-stuck
}

func TestTakeOverFromAClientThatHasHalfClosedAndDoesNotRead(t *testing.T) {
	e := newEdge(t, Config{})
	client := *e
	client.EngramServiceClient = pb.NewEngramServiceClient(e.dial(grpc.WithStaticStreamWindowSize(64 << 10)))
	old := client.begin("", &pb.StreamInit{})
	const last = 900 // their acks are more than gRPC holds for a client, its window and two buffers, and fewer than the outbox
	e.journal.hold() // so that all are read, and the half-close behind them, before the first ack can be in the way
	old.observe(upTo(last)...)
	if err := old.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	e.journal.awaitFilling(last)
	e.journal.release()
	e.journal.await(func() bool { return e.journal.index == last+1 && len(e.journal.filling) == 0 })
	if heir := e.begin(old.id, &pb.StreamInit{}); heir.first != last {
		t.Errorf("the heir goes on after %d", heir.first)
	}
	for heard := uint64(1); ; heard++ {
		if _, err := old.stream.Recv(); err != nil {
			wantStatus(t, err, codes.Aborted) // OK would say that all answers were sent
			if heard == last {
				t.Error("all answers were sent: the test shows nothing")
			}
			break
		}
	}
}

// stalled returns a condition that holds when the journal has not grown for a while, though it could.
func (e *edge) stalled() func() bool {
	last, since := -1, time.Now()
	return func() bool {
		e.journal.mu.Lock()
		n := len(e.journal.durable)
		e.journal.mu.Unlock()
		if n != last {
			last, since = n, time.Now()
		}
		return last > 1 && // the session's own record is one
			time.Since(since) > time.Second
	}
}

func TestThreeStreamsWantOneSession(t *testing.T) {
	e := newEdge(t, Config{})
	first := e.begin("", &pb.StreamInit{})
	e.journal.hold()
	first.observe(1)
	e.journal.awaitFilling(1)
	second := e.connect()
	second.send(initOf(first.id))
	await(t, "the first to be fenced", func() bool { return first.fenced(e) })
	third := e.connect()
	third.send(initOf(first.id))
	second.end(codes.Aborted, "another stream has taken session")
	e.journal.release()
	if ack := third.recv().GetInitAck(); ack.GetInitialSequence() != 1 {
		t.Errorf("the last one was told %v, want 1", ack)
	}
}

// info is what the edge knows of the client's session.
func (c *client) info(e *edge) (info session.Info) {
	for _, s := range e.Sessions() {
		if wal.SessionID(s.ID).String() == c.id {
			info = s
		}
	}
	return info
}

// fenced says that another stream waits for the session of c.
func (c *client) fenced(e *edge) bool { return c.info(e).Waiting > 0 }

func TestRestoredSessionsResume(t *testing.T) {
	open, closed := wal.SessionID{1}, wal.SessionID{2}
	e := newEdge(t, Config{},
		session.Snapshot{ID: open, Space: "old-space", Lane: uint8(wal.LaneHigh), Last: 41},
		session.Snapshot{ID: closed, Space: "old-space", Lane: uint8(wal.LaneHigh), Last: 7, Closed: true, ClosedAt: time.Now()})
	c := e.begin(open.String(), &pb.StreamInit{})
	if c.first != 41 {
		t.Fatalf("resumed after %d, want 41", c.first)
	}
	c.observe(42)
	c.acks(42)
	if r := e.journal.records(wal.KindWrite)[0]; r.Space != "old-space" || r.Lane != wal.LaneHigh {
		t.Errorf("goes on as %+v", r)
	}
	gone := e.connect()
	gone.send(initOf(closed.String()))
	gone.end(codes.FailedPrecondition, closed.String(), "was closed", "empty session_id")
}

func TestSessionsExpire(t *testing.T) {
	e := newEdge(t, Config{Session: session.Config{Timeout: 50 * time.Millisecond}})
	kept, left := e.begin("", &pb.StreamInit{}), e.begin("", &pb.StreamInit{})
	left.cancel()
	await(t, "the expiry to be durable", func() bool { return len(e.journal.records(wal.KindSessionExpired)) == 1 })
	if r := e.journal.records(wal.KindSessionExpired)[0]; r.Session.String() != left.id {
		t.Errorf("expired %v, want %s", r.Session, left.id)
	}
	again := e.connect()
	again.send(initOf(left.id))
	again.end(codes.NotFound, "no stream for 50ms")
	kept.observe(1)
	kept.acks(1)
	if st := e.Stats(); st.Sessions != 1 || st.Expired != 1 || st.Streams != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestTooManySessions(t *testing.T) {
	e := newEdge(t, Config{Session: session.Config{Limit: 1}})
	e.begin("", &pb.StreamInit{})
	c := e.connect()
	c.send(initOf(""))
	c.end(codes.ResourceExhausted, "1 are open and max-sessions is 1")
}
