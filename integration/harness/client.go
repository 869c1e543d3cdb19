package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// observeStream is the client's side of an ObserveStream.
type observeStream = grpc.BidiStreamingClient[engramv1.ObservationRequest, engramv1.ObservationResponse]

// Client is an application with one session: it sends without end, a window at a time, and when its stream breaks
// it comes back and goes on at the sequence that the sidecar names. It tells the oracle of everything. One goroutine
// runs it.
type Client struct {
	Name   string // for the oracle
	Conn   *grpc.ClientConn
	Oracle *Oracle
	Window uint64 // most observations in flight
	Epoch  *Epoch // nil: every ack counts
	Strict bool   // every answer but the next ack is a fault, a refusal for want of room or by a failing disk too

	id      string // the session's id once it is known
	Highest uint64 // sequence ever sent; read it when Run has returned
	Faults  []string

	Overloads atomic.Uint64 // answers that refused for want of room
}

// Run observes until enough is closed and everything that was sent has been acked, or until ctx ends, which is an error.
func (c *Client) Run(ctx context.Context, enough <-chan struct{}) error {
	for {
		finished, err := c.observe(ctx, enough)
		switch {
		case finished:
			return err
		case errors.Is(err, errOverloaded) || status.Code(err) == codes.ResourceExhausted:
			c.Overloads.Add(1)
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("client %s: %w: acked %d of %d sent; the stream said: %w",
				c.Name, context.Cause(ctx), c.Oracle.LastAck(c.Name), c.Highest, err)
		}
	}
}

var (
	errOverloaded = errors.New("refused for want of room")
	errTooLate    = errors.New("read after the fault: it does not count")
)

// observe is one stream's life. It returns true when there is nothing more to do.
func (c *Client) observe(ctx context.Context, enough <-chan struct{}) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	epoch := c.Epoch.now()
	rpc := engramv1.NewEngramServiceClient(c.Conn)
	stream, err := rpc.ObserveStream(ctx, grpc.WaitForReady(true))
	if err != nil {
		return false, err
	}
	resumed, err := c.begin(stream, epoch)
	if err != nil {
		return c.lost(err), err
	}
	if resumed > c.Highest {
		return true, fmt.Errorf("client %s: resumed at %d, beyond the %d it has sent", c.Name, resumed, c.Highest)
	}
	answers := &answers{client: c, epoch: epoch, heard: make(chan struct{}, 1), ended: make(chan struct{})}
	answers.acked.Store(resumed)
	var wait sync.WaitGroup
	wait.Go(func() { answers.read(stream) }) // ends with the stream
	defer wait.Wait()
	defer cancel()
	return c.send(stream, resumed, answers, enough)
}

// begin opens or resumes the session and returns the sequence at which it stands.
func (c *Client) begin(stream observeStream, epoch int) (uint64, error) {
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
	if !c.Epoch.during(epoch, func() {
		c.id = ack.GetSessionId()
		c.Oracle.Resumed(c.Name, ack.GetInitialSequence())
	}) {
		return 0, errTooLate
	}
	return ack.GetInitialSequence(), nil
}

// lost says whether the session cannot go on: its id is no longer known.
func (c *Client) lost(err error) bool {
	code := status.Code(err)
	if c.id == "" || code != codes.NotFound && code != codes.FailedPrecondition {
		return false
	}
	c.Oracle.Forgotten(c.Name, err)
	return true
}

// send keeps the window full until enough, and then waits for the acks of what was sent.
func (c *Client) send(stream observeStream, resumed uint64, a *answers, enough <-chan struct{}) (bool, error) {
	next := resumed + 1
	for {
		stopping := closed(enough)
		acked := a.acked.Load()
		if stopping && acked >= c.Highest {
			return true, stream.CloseSend()
		}
		if next > acked+c.Window || stopping && next > c.Highest {
			select {
			case <-a.heard:
			case <-a.ended:
				return false, a.err
			case <-unless(stopping, enough):
			}
			continue
		}
		of := Observation{c.Name, next}
		e := EpisodeOf(of)
		c.Oracle.Sent(of, DigestOf(e))
		c.Highest = max(c.Highest, next)
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
	client *Client
	epoch  int
	acked  atomic.Uint64 // highest sequence acked on this stream, or at which it was resumed
	heard  chan struct{} // capacity 1: acked has risen
	ended  chan struct{} // closed after err was set
	err    error
}

func (a *answers) read(stream observeStream) {
	defer close(a.ended)
	var refused error
	for {
		answer, err := stream.Recv()
		if err != nil {
			a.err = err
			return
		}
		if !a.client.Strict && answer.GetStatus().GetState() == engramv1.StreamStatus_STATE_OVERLOADED {
			a.err = errOverloaded
			return
		}
		if !a.client.Strict && answer.GetStatus().GetState() == engramv1.StreamStatus_STATE_ERROR {
			refused = fmt.Errorf("answer %v", answer) // right only if the stream ends of a storage failure now
			continue
		}
		expected := a.acked.Load() + 1
		if refused != nil || answer.GetAck().GetStatus() != engramv1.ObservationAck_STATUS_ACCEPTED || answer.GetSequenceNumber() != expected {
			a.err = fmt.Errorf("client %s: answer %v, expected the ack of %d", a.client.Name, answer, expected)
			a.client.Faults = append(a.client.Faults, a.err.Error())
			return
		}
		if !a.client.Epoch.during(a.epoch, func() {
			a.client.Oracle.Acked(Observation{a.client.Name, expected}, answer.GetAck().GetMemoryId())
		}) {
			a.err = errTooLate
			return
		}
		a.acked.Store(expected)
		select {
		case a.heard <- struct{}{}:
		default:
		}
	}
}
