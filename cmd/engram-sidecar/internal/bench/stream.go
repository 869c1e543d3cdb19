package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// stream is one stream of the client. One goroutine sends and one receives.
type stream struct {
	d        *driver
	number   int
	grpc     grpc.ClientStream
	cancel   context.CancelFunc
	messages *messages
	share    *histogram

	sent  atomic.Uint64
	acked atomic.Uint64
	room  chan struct{} // cap 1: something was acked
	since []int64       // when the request in each place of the window was due, nanoseconds after driver.began
	ended chan struct{} // closed by the receiver
}

var bidi = grpc.StreamDesc{ClientStreams: true, ServerStreams: true}

// openStream begins a stream and, where the protocol has it, a session.
func openStream(ctx context.Context, d *driver, conn *grpc.ClientConn, number int, shared [][]byte) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{
		d: d, number: number, cancel: cancel, messages: newMessages(d.kind, &d.load, shared, number),
		share: d.shares[number%len(d.shares)], room: make(chan struct{}, 1), since: make([]int64, d.load.Window),
		ended: make(chan struct{}),
	}
	err := s.open(ctx, conn)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("stream %d: %w", number, err)
	}
	return s, nil
}

func (s *stream) open(ctx context.Context, conn *grpc.ClientConn) (err error) {
	if s.grpc, err = conn.NewStream(ctx, &bidi, s.d.kind.method(), grpc.WaitForReady(true)); err != nil {
		return err
	}
	if s.d.kind != ProtocolObserve {
		return nil
	}
	if err := s.grpc.SendMsg(mem.SliceBuffer(initOf(&s.d.load))); err != nil && !errors.Is(err, io.EOF) {
		return err // after an EOF RecvMsg knows why
	}
	return s.grpc.RecvMsg(&answer{kind: s.d.kind, whole: true})
}

// sendAll sends until it is told to stop, never more than the window ahead of the acks, and half-closes.
func (s *stream) sendAll() error {
	var out request
	last := s.last()
	for s.sent.Load() < last && s.mayGo() {
		due := time.Since(s.d.began)
		if s.d.load.Rate > 0 {
			if due = s.due(); !s.sleepUntil(due) {
				break
			}
		}
		n := s.sent.Load() + 1
		s.since[n%uint64(len(s.since))] = int64(due)
		out.parts = s.messages.next()
		s.sent.Store(n)
		if err := s.grpc.SendMsg(&out); err != nil {
			if errors.Is(err, io.EOF) {
				return nil // the receiver learns why
			}
			return fmt.Errorf("stream %d: send: %w", s.number, err)
		}
	}
	return s.grpc.CloseSend()
}

// last is the stream's share of a load that is counted out.
func (s *stream) last() uint64 {
	all, streams := s.d.load.Count, uint64(s.d.load.Streams) //nolint:gosec // at least 1
	if all == 0 {
		return math.MaxUint64
	}
	share := all / streams
	if uint64(s.number) < all%streams { //nolint:gosec // not negative
		share++
	}
	return share
}

// mayGo waits for room in the window. It returns false when nothing more is to be sent.
func (s *stream) mayGo() bool {
	for {
		select {
		case <-s.d.stop:
			return false
		default:
		}
		if s.sent.Load()-s.acked.Load() < uint64(len(s.since)) {
			return true
		}
		select {
		case <-s.room:
		case <-s.ended:
			return false
		case <-s.d.stop:
			return false
		}
	}
}

// due is when the next request is to be sent, by the clock and not by when the one before was answered: a server that
// stalls makes all of them late, and that counts.
func (s *stream) due() time.Duration {
	place := float64(s.sent.Load())*float64(s.d.load.Streams) + float64(s.number)
	return time.Duration(place / s.d.load.Rate * float64(time.Second))
}

func (s *stream) sleepUntil(due time.Duration) bool {
	left := due - time.Since(s.d.began)
	if left <= 0 {
		return true
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ended:
		return false
	case <-s.d.stop:
		return false
	}
}

// checkEvery is how many acks come for one that is read as a whole.
const checkEvery = 1000

// receiveAll takes acks until the server has sent all it owes.
func (s *stream) receiveAll() error {
	defer close(s.ended)
	defer s.cancel()
	a := answer{kind: s.d.kind}
	for {
		n := s.acked.Load() + 1
		a.whole = s.d.kind == ProtocolObserve && n%checkEvery == 0
		err := s.grpc.RecvMsg(&a)
		if errors.Is(err, io.EOF) {
			return nil // whether all were acked is seen at the end
		}
		if err != nil {
			return fmt.Errorf("stream %d: after %d acks: %w", s.number, n-1, err)
		}
		if n > s.sent.Load() || a.whole && a.sequence != 0 && a.sequence != n {
			return fmt.Errorf("stream %d: expected the ack of %d, got one of %d", s.number, n, a.sequence)
		}
		s.note(n)
	}
}

func (s *stream) note(n uint64) {
	since := time.Duration(s.since[n%uint64(len(s.since))])
	s.acked.Store(n)
	select {
	case s.room <- struct{}{}:
	default:
	}
	if s.d.phase.Load() == counting {
		s.d.acked.Add(1)
		s.share.add(time.Since(s.d.began) - since)
	}
}
