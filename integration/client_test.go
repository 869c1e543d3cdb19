package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// observeStream is the client's side of an ObserveStream.
type observeStream = grpc.BidiStreamingClient[engramv1.ObservationRequest, engramv1.ObservationResponse]

// sessionClient is an application with one session: it sends without end, a window at a time, and when its stream breaks
// it comes back and goes on at the sequence that the sidecar names. It tells the oracle of everything. One goroutine
// runs it.
type sessionClient struct {
	name   string // for the oracle
	conn   *grpc.ClientConn
	oracle *Oracle
	window uint64

	id      string // the session's id once it is known
	highest uint64 // highest sequence ever sent
	faults  []string
}

// run observes until enough is closed and everything that was sent has been acked, or until ctx ends, which is an error.
func (c *sessionClient) run(ctx context.Context, enough <-chan struct{}) error {
	for {
		finished, err := c.observe(ctx, enough)
		switch {
		case finished:
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("client %s: %w: acked %d of %d sent; the stream said: %w",
				c.name, context.Cause(ctx), c.oracle.LastAck(c.name), c.highest, err)
		}
	}
}

// observe is one stream's life. It returns true when there is nothing more to do.
func (c *sessionClient) observe(ctx context.Context, enough <-chan struct{}) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rpc := engramv1.NewEngramServiceClient(c.conn)
	stream, err := rpc.ObserveStream(ctx, grpc.WaitForReady(true))
	if err != nil {
		return false, err
	}
	resumed, err := c.begin(stream)
	if err != nil {
		return c.lost(err), err
	}
	if resumed > c.highest {
		return true, fmt.Errorf("client %s: resumed at %d, beyond the %d it has sent", c.name, resumed, c.highest)
	}
	answers := &answers{client: c, heard: make(chan struct{}, 1), ended: make(chan struct{})}
	answers.acked.Store(resumed)
	var wait sync.WaitGroup
	wait.Go(func() { answers.read(stream) }) // ends with the stream
	defer wait.Wait()
	defer cancel()
	return c.send(stream, resumed, answers, enough)
}

// begin opens or resumes the session and returns the sequence at which it stands.
func (c *sessionClient) begin(stream observeStream) (uint64, error) {
	if err := stream.Send(&engramv1.ObservationRequest{
		SessionId: c.id, Operation: &engramv1.ObservationRequest_Init{Init: &engramv1.StreamInit{}},
	}); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	first, err := stream.Recv()
	if err != nil {
		return 0, err
	}
	ack := first.GetInitAck()
	if ack.GetSessionId() == "" || c.id != "" && ack.GetSessionId() != c.id {
		return 0, fmt.Errorf("the first answer was %v, expected an init_ack of session %q", first, c.id)
	}
	c.id = ack.GetSessionId()
	c.oracle.Resumed(c.name, ack.GetInitialSequence())
	return ack.GetInitialSequence(), nil
}

// lost says whether the session cannot go on: its id is no longer known.
func (c *sessionClient) lost(err error) bool {
	code := status.Code(err)
	if c.id == "" || code != codes.NotFound && code != codes.FailedPrecondition {
		return false
	}
	c.oracle.Forgotten(c.name, err)
	return true
}

// send keeps the window full until enough, and then waits for the acks of what was sent.
func (c *sessionClient) send(stream observeStream, resumed uint64, a *answers, enough <-chan struct{}) (bool, error) {
	next := resumed + 1
	for {
		stopping := closed(enough)
		acked := a.acked.Load()
		if stopping && acked >= c.highest {
			return true, stream.CloseSend()
		}
		if next > acked+c.window || stopping && next > c.highest {
			select {
			case <-a.heard:
			case <-a.ended:
				return false, a.err
			case <-unless(stopping, enough):
			}
			continue
		}
		of := Observation{c.name, next}
		e := episodeOf(of)
		c.oracle.Sent(of, digestOf(e))
		c.highest = max(c.highest, next)
		if err := stream.Send(&engramv1.ObservationRequest{
			SequenceNumber: next, Operation: &engramv1.ObservationRequest_Observation{Observation: e},
		}); err != nil {
			<-a.ended
			return false, a.err
		}
		next++
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// unless returns c, or a channel that never fires where that is no longer wanted.
func unless(unwanted bool, c <-chan struct{}) <-chan struct{} {
	if unwanted {
		return nil
	}
	return c
}

// answers is what comes back on one stream.
type answers struct {
	client *sessionClient
	acked  atomic.Uint64 // highest sequence acked on this stream, or at which it was resumed
	heard  chan struct{} // capacity 1: acked has risen
	ended  chan struct{} // closed after err was set
	err    error
}

func (a *answers) read(stream observeStream) {
	defer close(a.ended)
	for {
		answer, err := stream.Recv()
		if err != nil {
			a.err = err
			return
		}
		expected := a.acked.Load() + 1
		if answer.GetAck().GetStatus() != engramv1.ObservationAck_STATUS_ACCEPTED || answer.GetSequenceNumber() != expected {
			a.err = fmt.Errorf("client %s: answer %v, expected the ack of %d", a.client.name, answer, expected)
			a.client.faults = append(a.client.faults, a.err.Error())
			return
		}
		a.client.oracle.Acked(Observation{a.client.name, expected}, answer.GetAck().GetMemoryId())
		a.acked.Store(expected)
		select {
		case a.heard <- struct{}{}:
		default:
		}
	}
}
