package proxy

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// handStream is a stream whose messages the test hands to the receiver one by one.
type handStream struct {
	grpc.ServerStream
	ctx      context.Context
	messages chan *pb.ObservationRequest
	answers  chan *pb.ObservationResponse
}

func (s *handStream) Context() context.Context { return s.ctx }

func (s *handStream) RecvMsg(m any) error {
	select {
	case r := <-s.messages:
		b, err := proto.Marshal(r)
		*m.(*Frame) = b //nolint:forcetypeassert,errcheck // it is what the edge receives into
		return err
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *handStream) SendMsg(m any) error {
	var res pb.ObservationResponse
	sent := m.(*outgoing) //nolint:forcetypeassert,errcheck // it is what the edge sends
	defer sent.Free()     // as gRPC does once it is written
	err := proto.Unmarshal(sent.ReadOnlyData(), &res)
	s.answers <- &res
	return err
}

func TestEndingStreamTakesNothingMore(t *testing.T) {
	for _, row := range []struct {
		name  string
		end   func(*edge)
		acked int // of the three in flight
	}{
		{"stop", func(e *edge) { e.stop() }, 3},
		{"journal failed", func(e *edge) {
			e.journal.set(func() { e.journal.refuse = fmt.Errorf("%w: %w", wal.ErrFailed, errDisk) })
			e.journal.release()
		}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newEdge(t, Config{})
			ctx, cancel := context.WithCancel(e.ctx)
			defer cancel()
			stream := &handStream{
				ctx: ctx, messages: make(chan *pb.ObservationRequest), answers: make(chan *pb.ObservationResponse, 64),
			}
			o := &observation{opened: make(chan struct{}), drain: make(chan struct{})}
			o.prepare(e.Server, stream, "ObserveStream", o)
			left, ended := make(chan struct{}), make(chan error, 1)
			e.streams.Go(func() { defer close(left); o.receiveAll() })
			go func() { ended <- o.supervise() }()

			stream.messages <- initOf("")
			<-stream.answers
			e.journal.hold()
			for seq := uint64(1); seq <= 3; seq++ {
				stream.messages <- observationOf(seq, episode(""))
			}
			e.journal.awaitFilling(3)
			row.end(e)
			await(t, "the stream to take nothing more", func() bool {
				o.writing.Lock()
				defer o.writing.Unlock()
				return o.stopped
			})
			<-o.halt
			offered := 0
			for _, seq := range []uint64{9, 4, 5, 6, 7} { // the first one is a gap anyway
				select {
				case stream.messages <- observationOf(seq, episode("")):
					offered++
				case <-left:
				}
			}
			e.journal.release()
			wantStatus(t, <-ended, codes.Unavailable)
			if offered > 1 {
				t.Errorf("%d messages were read after the end, want the one that the receiver waited for at most", offered)
			}
			if n := e.counts.of(ReasonSequence); n != 0 {
				t.Errorf("%d observations were refused as gaps", n)
			}
			close(stream.answers)
			n := 0
			for res := range stream.answers {
				if n++; res.GetAck() == nil {
					t.Errorf("answer %d is %v", n, res)
				}
			}
			if n != row.acked {
				t.Errorf("%d answers, want the %d acks", n, row.acked)
			}
		})
	}
}
