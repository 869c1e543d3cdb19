package proxy

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// stuckStream is a handStream whose transport takes every answer and writes none until the test says so.
type stuckStream struct {
	handStream
	mu    sync.Mutex
	taken []mem.Buffer
	moves bool
}

func (s *stuckStream) SendMsg(m any) error {
	sent := m.(*outgoing) //nolint:forcetypeassert,errcheck // it is what the edge sends
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken = append(s.taken, sent.Buffer); s.moves {
		sent.Free()
	}
	return nil
}

func (s *stuckStream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.taken)
}

func (s *stuckStream) move() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves = true
	for _, b := range s.taken {
		b.Free()
	}
}

var _ grpc.ServerStream = (*stuckStream)(nil)

func TestSenderGivesTheTransportTwoBuffersAtATime(t *testing.T) {
	const acks = 600 // 80 KiB: more than two buffers, and not more than an outbox holds
	e := newEdge(t, Config{})
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	stream := &stuckStream{handStream: handStream{ctx: ctx, messages: make(chan *pb.ObservationRequest)}}
	o := &observation{opened: make(chan struct{}), drain: make(chan struct{})}
	o.prepare(e.Server, stream, "ObserveStream", o)
	ended := make(chan error, 1)
	e.streams.Go(o.receiveAll)
	go func() { ended <- o.supervise() }()
	stream.messages <- initOf("")
	await(t, "the session to be opened", func() bool { return stream.count() == 1 })
	e.journal.hold() // so that all are read before the first ack is in the way
	for seq := uint64(1); seq <= acks; seq++ {
		stream.messages <- observationOf(seq, episode(""))
	}
	e.journal.awaitFilling(acks)
	e.journal.release()
	await(t, "two buffers to be under way, and no ack to wait for the journal", func() bool {
		o.learn()
		return o.transit.handed.Load() == transitMost && o.level().owed == 0
	})
	time.Sleep(20 * time.Millisecond) // for a sender that would go on
	if n := stream.count(); n > 2*sendBatchBytes/100 {
		t.Errorf("the transport holds %d answers, want no more than two buffers have room for", n)
	}
	stream.move()
	await(t, "all acks to be sent", func() bool { return stream.count() == acks+1 })
	if n := o.transit.handed.Load(); n != 0 {
		t.Errorf("%d buffers are under way when all is written", n)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAnswersOfAnySizeComeBackAndOnlyOrdinaryBuffersAreKept(t *testing.T) {
	long := make([]byte, 3*answerBuffer)
	b := newAnswerBuffer()
	*b = append(*b, long...)
	tr := newTransit()
	tr.hand(b).Free()
	if tr.handed.Load() != 0 {
		t.Error("a buffer that has grown did not come back")
	}
	for range 100 {
		if b := newAnswerBuffer(); cap(*b) != answerBuffer || len(*b) != 0 {
			t.Fatalf("a buffer of %d with %d bytes in it, want an empty one of %d", cap(*b), len(*b), answerBuffer)
		}
	}
}
