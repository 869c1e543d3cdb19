package engram

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

var rememberDesc = grpc.StreamDesc{StreamName: "StreamingRemember", ClientStreams: true, ServerStreams: true}

// stream is one StreamingRemember. Its sender takes batches and its receiver counts answers; both end when the stream
// does. All methods are for the one Put whose turn it is.
type stream struct {
	client grpc.ClientStream
	cancel context.CancelCauseFunc
	wait   sync.WaitGroup // sender and receiver

	batches chan []message
	sent    chan struct{} // one token for each batch that the sender is done with
	asked   atomic.Uint64 // requests handed to grpc, counted before each
	got     atomic.Uint64 // answers
	heard   chan struct{} // capacity 1: there was an answer
	ended   chan struct{} // closed by the receiver, after err was set
	err     error         // why the stream ended

	expected uint64 // answers owed for all that was ever handed to the sender
}

// openStream begins a stream that outlives ctx: ctx and patience only bound the opening.
func openStream(ctx context.Context, conn *grpc.ClientConn, patience time.Duration) (*stream, error) {
	ours, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	late := time.AfterFunc(patience, func() { cancel(errSilent) })
	client, err := conn.NewStream(ours, &rememberDesc, engramv1.EngramService_StreamingRemember_FullMethodName,
		grpc.ForceCodecV2(codec{}))
	late.Stop()
	stop()
	if err != nil {
		err = because(ours, err)
		cancel(nil)
		return nil, err
	}
	s := &stream{
		client: client, cancel: cancel,
		batches: make(chan []message), sent: make(chan struct{}, 1),
		heard: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	s.wait.Go(func() { s.send(ours) })    // ends with the stream's context; close waits
	s.wait.Go(func() { s.receive(ours) }) // likewise
	return s, nil
}

func (s *stream) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case batch := <-s.batches:
			for i := range batch {
				s.asked.Add(1)
				if err := s.client.SendMsg(&batch[i]); err != nil {
					return // the receiver learns the reason
				}
			}
			s.sent <- struct{}{}
		}
	}
}

func (s *stream) receive(ctx context.Context) {
	defer close(s.ended)
	defer s.cancel(nil) // the sender has no one to send to
	for {
		if err := s.client.RecvMsg((*raw)(nil)); err != nil {
			s.err = because(ctx, err)
			if errors.Is(err, io.EOF) {
				s.err = errEnded
			}
			return
		}
		if s.got.Load() == s.asked.Load() {
			s.err = errExtra
			return
		}
		s.got.Add(1)
		select {
		case s.heard <- struct{}{}:
		default:
		}
	}
}

// alive says that the stream has not ended, as far as is known.
func (s *stream) alive() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// exchange sends a batch and waits for its answers. It returns how many came; fewer than the batch come with the reason,
// and then the stream is closed. The batch is not used after it has returned.
func (s *stream) exchange(ctx context.Context, batch []message, patience time.Duration) (int, error) {
	before := s.expected
	s.expected += uint64(len(batch))
	err := s.converse(ctx, batch, patience)
	if err != nil {
		s.close(err)
	}
	return int(s.got.Load() - before), err //nolint:gosec // at most len(batch)
}

func (s *stream) converse(ctx context.Context, batch []message, patience time.Duration) error {
	silence := time.NewTimer(patience)
	defer silence.Stop()
	batches, sent := s.batches, false
	for !sent || s.got.Load() < s.expected {
		select {
		case batches <- batch:
			batches = nil
		case <-s.sent:
			sent = true
		case <-s.heard:
			silence.Reset(patience)
		case <-silence.C:
			return gaveUp(errSilent)
		case <-ctx.Done():
			return gaveUp(context.Cause(ctx))
		case <-s.ended:
			return s.err
		}
	}
	return nil
}

// close ends the stream, if it has not ended, and waits for its goroutines.
func (s *stream) close(why error) {
	s.cancel(why)
	s.wait.Wait()
}
