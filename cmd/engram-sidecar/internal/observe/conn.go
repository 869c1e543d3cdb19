package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/metadata"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// conn is one observation stream whose init was answered. Its two goroutines let the session's loop wait for everything at
// once; without them a send that waits for flow control could not see the acks that would end its wait.
type conn struct {
	out     chan *engramv1.ObservationRequest  // taken one by one; never closed
	in      chan *engramv1.ObservationResponse // closed when the stream is over; then err says why
	err     error                              // nil after an OK; read it only when in is closed
	hangUp  chan struct{}                      // closed to half-close: what was taken from out is sent, then no more
	cancel  context.CancelFunc
	workers sync.WaitGroup
}

// connect opens a stream and sends init with the session's id, "" for a new one. The caller closes the conn.
func connect(ctx context.Context, client engramv1.EngramServiceClient, cfg Config, session string) (*conn, *engramv1.StreamInitAck, error) {
	ctx, cancel := context.WithCancel(ctx)
	ack, stream, err := open(ctx, client, cfg, session)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	c := &conn{
		out:    make(chan *engramv1.ObservationRequest),
		in:     make(chan *engramv1.ObservationResponse, cfg.Window),
		hangUp: make(chan struct{}),
		cancel: cancel,
	}
	c.workers.Go(func() { c.send(ctx, stream) })    // ends with ctx or at hangUp; close waits for it
	c.workers.Go(func() { c.receive(ctx, stream) }) // ends with the stream or ctx; close waits for it
	return c, ack, nil
}

// stream is an observation stream seen by the client.
type stream = interface {
	Send(*engramv1.ObservationRequest) error
	Recv() (*engramv1.ObservationResponse, error)
	CloseSend() error
}

func open(ctx context.Context, client engramv1.EngramServiceClient, cfg Config, session string) (*engramv1.StreamInitAck, stream, error) {
	if cfg.Priority != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "engram-priority", cfg.Priority)
	}
	s, err := client.ObserveStream(ctx)
	if err != nil {
		return nil, nil, err
	}
	init := &engramv1.ObservationRequest{
		MemorySpaceId: cfg.Space, SessionId: session,
		Operation: &engramv1.ObservationRequest_Init{Init: &engramv1.StreamInit{
			ClientBufferSize: uint32(cfg.Window), //nolint:gosec // at most MaxWindow
		}},
	}
	if err := s.Send(init); err != nil && !errors.Is(err, io.EOF) { // EOF means that Recv knows why
		return nil, nil, err
	}
	resp, err := s.Recv()
	if errors.Is(err, io.EOF) {
		return nil, nil, errNoAnswer
	}
	if err != nil {
		return nil, nil, err
	}
	ack := resp.GetInitAck()
	if ack == nil || ack.GetSessionId() == "" || session != "" && ack.GetSessionId() != session {
		return nil, nil, fmt.Errorf("%w: init was answered with %v", errProtocol, resp)
	}
	return ack, s, nil
}

var (
	errNoAnswer = errors.New("the stream ended before init was answered")
	errProtocol = errors.New("the server does not keep to the protocol")
)

func (c *conn) send(ctx context.Context, s stream) {
	for {
		select {
		case req := <-c.out:
			if err := s.Send(req); err != nil {
				return // receive learns why; out is not served any more, and in is closed soon
			}
		case <-c.hangUp:
			_ = s.CloseSend() // never fails; what follows comes by Recv
			return
		case <-ctx.Done():
			return
		}
	}
}

func (c *conn) receive(ctx context.Context, s stream) {
	defer close(c.in)
	for {
		resp, err := s.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.err = err
			}
			return
		}
		select {
		case c.in <- resp:
		case <-ctx.Done():
			c.err = ctx.Err()
			return
		}
	}
}

// close ends the stream and waits for both goroutines. Answers not yet taken from in are lost.
func (c *conn) close() {
	c.cancel()
	c.workers.Wait()
}
