package integration

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// newMemoryTalk opens a MemoryStream.
func newMemoryTalk(t testing.TB, conn *grpc.ClientConn) *talk {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	t.Cleanup(cancel)
	stream, err := engramv1.NewEngramServiceClient(conn).MemoryStream(ctx, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return &talk{t, stream}
}

// asking opens an ObserveStream with metadata engram-acks.
func asking(t testing.TB, conn *grpc.ClientConn, acks string) *talk {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	t.Cleanup(cancel)
	ctx = metadata.AppendToOutgoingContext(ctx, "engram-acks", acks)
	stream, err := engramv1.NewEngramServiceClient(conn).ObserveStream(ctx, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return &talk{t, stream}
}

// ackBook notes the acks of a stream and holds them against what they may be.
type ackBook struct {
	accepted, indexed uint64 // the highest
	ids               map[uint64]string
	rejected          map[uint64]bool
}

func newAckBook() *ackBook {
	return &ackBook{ids: map[uint64]string{}, rejected: map[uint64]bool{}}
}

// take expects an ack that may come now: each observation is accepted once, and settled once, both in order.
func (b *ackBook) take(t *testing.T, answer *engramv1.ObservationResponse) {
	t.Helper()
	ack, n := answer.GetAck(), answer.GetSequenceNumber()
	switch ack.GetStatus() {
	case engramv1.ObservationAck_STATUS_ACCEPTED:
		if n != b.accepted+1 {
			t.Fatalf("accepted %d after %d", n, b.accepted)
		}
		b.accepted, b.ids[n] = n, ack.GetMemoryId()
	case engramv1.ObservationAck_STATUS_INDEXED, engramv1.ObservationAck_STATUS_REJECTED:
		if n != b.indexed+1 || n > b.accepted || ack.GetMemoryId() != b.ids[n] {
			t.Fatalf("%v, after %d were settled and %d accepted, with the id %q", answer, b.indexed, b.accepted, b.ids[n])
		}
		b.indexed = n
		if ack.GetStatus() == engramv1.ObservationAck_STATUS_REJECTED {
			b.rejected[n] = true
		}
	default:
		t.Fatalf("answer %v, expected an ack", answer)
	}
}

func TestMemoryStreamTellsWhatTheStoreHas(t *testing.T) {
	const count = 2000
	s := serving(t)
	k := newMemoryTalk(t, s.Connect())
	k.init("")
	go func() {
		for n := uint64(1); n <= count; n++ {
			if k.stream.Send(nth(n)) != nil {
				return
			}
		}
	}()
	book := newAckBook()
	for book.indexed < count {
		book.take(t, k.answer())
	}
	if b, err := s.Balance(); err != nil || b.Delivered != count || len(book.rejected) != 0 {
		t.Errorf("balance %+v (%v), rejected %v; expected %d delivered", b, err, book.rejected, count)
	}
}

func TestRejectedIsTold(t *testing.T) {
	f := newForwarding(t)
	poison := map[uint64]bool{7: true, 31: true}
	f.store.Set(harness.Faults{Refuse: func(e *engramv1.Episode) error {
		if of, _, err := harness.ObservationIn(e); err == nil && poison[of.Sequence] {
			return status.Error(codes.InvalidArgument, "not this one")
		}
		return nil
	}})
	k := asking(t, f.sidecar.Connect(), "indexed")
	session := k.init("").GetSessionId()
	const count = 40
	for n := uint64(1); n <= count; n++ {
		k.send(nth(n))
	}
	book := newAckBook()
	for book.indexed < count {
		book.take(t, k.answer())
	}
	if len(book.rejected) != 2 || !book.rejected[7] || !book.rejected[31] {
		t.Errorf("rejected %v, expected 7 and 31", book.rejected)
	}

	f.sidecar.Kill() // what is told on resume comes from the ledger
	f.sidecar.Start()
	f.sidecar.Drained()
	k = newMemoryTalk(t, f.sidecar.Connect())
	if at := k.init(session).GetInitialSequence(); at != count {
		t.Fatalf("resumed at %d, expected %d", at, count)
	}
	for _, want := range []struct {
		sequence uint64
		status   engramv1.ObservationAck_Status
	}{{7, engramv1.ObservationAck_STATUS_REJECTED}, {31, engramv1.ObservationAck_STATUS_REJECTED}, {count, engramv1.ObservationAck_STATUS_INDEXED}} {
		if a := k.answer(); a.GetAck().GetStatus() != want.status || a.GetSequenceNumber() != want.sequence {
			t.Errorf("answer %v, expected %v of %d", a, want.status, want.sequence)
		}
	}
}

// TestIndexedAcksAcrossAKill: what was accepted before a kill -9 is settled after it, by one watermark and what follows.
func TestIndexedAcksAcrossAKill(t *testing.T) {
	f := newForwarding(t)
	f.store.Stop()
	conn := f.sidecar.Connect()
	k := asking(t, conn, "indexed")
	session := k.init("").GetSessionId()
	const count = 100
	for n := uint64(1); n <= count; n++ {
		k.send(nth(n))
	}
	for n := uint64(1); n <= count; n++ {
		k.acked(n)
	}
	f.sidecar.Kill()
	f.sidecar.Start()
	k = asking(t, conn, "indexed")
	if at := k.init(session).GetInitialSequence(); at != count {
		t.Fatalf("resumed at %d, expected %d", at, count)
	}
	f.store.Start()
	indexed := uint64(0)
	for indexed < count {
		a := k.answer()
		if a.GetAck().GetStatus() != engramv1.ObservationAck_STATUS_INDEXED || a.GetSequenceNumber() <= indexed {
			t.Fatalf("answer %v after %d were indexed", a, indexed)
		}
		indexed = a.GetSequenceNumber()
	}
	k.send(nth(count + 1))
	k.acked(count + 1)
	if a := k.answer(); a.GetAck().GetStatus() != engramv1.ObservationAck_STATUS_INDEXED || a.GetSequenceNumber() != count+1 {
		t.Errorf("answer %v, expected INDEXED of %d", a, count+1)
	}
	k.send(closeOf(count+1, true))
	if st := k.answer().GetStatus(); st.GetState() != engramv1.StreamStatus_STATE_CLOSED {
		t.Errorf("status %v, expected CLOSED", st)
	}
	k.ends(codes.OK)
}

func TestCumulativeAcks(t *testing.T) {
	const count = 3000
	s := serving(t)
	k := asking(t, s.Connect(), "cumulative")
	k.init("")
	go func() {
		for n := uint64(1); n <= count; n++ {
			if k.stream.Send(nth(n)) != nil {
				return
			}
		}
	}()
	acks, last := 0, uint64(0)
	for last < count {
		a := k.answer()
		if a.GetAck().GetStatus() != engramv1.ObservationAck_STATUS_ACCEPTED || a.GetSequenceNumber() <= last {
			t.Fatalf("answer %v after %d", a, last)
		}
		acks, last = acks+1, a.GetSequenceNumber()
	}
	if acks == count {
		t.Errorf("%d acks for %d observations: none stood for two", acks, count)
	}
	s.Kill()
	s.Start()
	if b, err := s.Balance(); err != nil || b.Accepted != count {
		t.Errorf("balance %+v (%v), expected %d accepted: an ack stands for all before it", b, err, count)
	}
}
