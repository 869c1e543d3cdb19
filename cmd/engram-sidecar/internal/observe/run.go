package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// run is one run of observe. Its loop is the only goroutine that touches it.
type run struct {
	cfg    Config
	client engramv1.EngramServiceClient
	input  *Reader
	hard   context.Context // ends when even the acks owed are waited for no longer

	window
	conn      *conn
	lines     <-chan line     // nil when no more lines are wanted
	interrupt <-chan struct{} // nil when it has been seen
	unpause   bool            // the session is paused: resume it before anything else
	hold      <-chan time.Time
	silence   silence
	skip      uint64 // observations still to leave out because the session has them
	hungUp    bool   // the present connection was half-closed
	closing   bool   // the session's close was sent on some connection
	done      bool

	why     error // why reading ended before the input did
	sum     Summary
	latency latencies
	started time.Time
}

// line is what the reading goroutine found: an observation or an error.
type line struct {
	obs Observation
	err error
}

// Run streams the lines of in until its end, until ctx ends (then it stops reading, and waits for the acks it is owed for
// Config.Linger), or until something fails for good. The Summary tells how far it came, whatever the error.
func Run(ctx context.Context, client engramv1.EngramServiceClient, cfg Config, in *Reader) (Summary, error) {
	if err := cfg.Validate(); err != nil {
		return Summary{}, err
	}
	cfg = cfg.withDefaults()
	hard, cancel := lingering(ctx, cfg.Linger)
	defer cancel()
	lines, stop := make(chan line), make(chan struct{})
	defer close(stop)
	go read(in, lines, stop) // ends at stop, or when the read it is in returns; see the package comment
	r := &run{cfg: cfg, client: client, input: in, hard: hard, lines: lines, interrupt: ctx.Done(), started: time.Now()}
	err := r.stream()
	if r.conn != nil {
		r.conn.close()
	}
	if err = errors.Join(r.why, err); err != nil {
		r.sum.Failure = err.Error()
	}
	r.cfg.Progress(r.summary())
	return r.summary(), err
}

// lingering returns a context that ends a while after ctx.
func lingering(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(d):
			cancel()
		case <-hard.Done():
		}
	})
	return hard, func() { stop(); cancel() }
}

func read(in *Reader, lines chan<- line, stop <-chan struct{}) {
	for {
		obs, err := in.Next()
		select {
		case lines <- line{obs, err}:
		case <-stop:
			return
		}
		var invalid *LineError
		if err != nil && !errors.As(err, &invalid) {
			return
		}
	}
}

// stream opens the session and then waits for whatever comes next, until all is done.
func (r *run) stream() error {
	if err := r.begin(); err != nil {
		return err
	}
	progress := time.NewTicker(100 * time.Millisecond)
	defer progress.Stop()
	for !r.done {
		req := r.request()
		var out chan<- *engramv1.ObservationRequest
		if req != nil {
			out = r.conn.out
		}
		var err error
		select {
		case l := <-r.wanted():
			err = r.take(l)
		case out <- req:
			r.handed(req)
		case resp, ok := <-r.conn.in:
			if ok {
				err = r.answer(resp)
			} else {
				err = r.lost(r.conn.err)
			}
		case <-r.hold:
			r.hold = nil
		case <-r.interrupt:
			r.interrupted()
		case <-progress.C:
			r.cfg.Progress(r.summary())
			r.mind(time.Now())
		case <-r.hard.Done():
			err = fmt.Errorf("stopped waiting after %v: %d observations were sent and are not acknowledged", r.cfg.Linger, r.summary().Owed())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wanted is the channel of lines while there is room in the window.
func (r *run) wanted() <-chan line {
	if len(r.pending) >= r.cfg.Window {
		return nil
	}
	return r.lines
}

// take puts one line into the window.
func (r *run) take(l line) error {
	var invalid *LineError
	switch {
	case l.err == nil && r.skip > 0:
		r.skip--
		r.sum.Known++
	case l.err == nil:
		r.add(l.obs)
	case errors.Is(l.err, io.EOF):
		r.lines = nil
		if r.skip > 0 {
			return fmt.Errorf("the input has %d observations, the session %d: it is not the input of that session", r.sum.Known, r.sum.Known+r.skip)
		}
	case errors.As(l.err, &invalid) && r.cfg.SkipInvalid:
		r.sum.Skipped++
		r.cfg.Notice("%v; left out", l.err)
	default:
		r.stop(l.err)
	}
	return nil
}

// stop ends the reading; what was taken in is still sent and waited for.
func (r *run) stop(why error) {
	r.lines = nil
	r.why = errors.Join(r.why, why)
}

func (r *run) interrupted() {
	r.interrupt = nil
	r.sum.Interrupted = r.lines != nil
	r.lines = nil
	r.keepOnlySent()
	if r.closing {
		r.cfg.Notice("stopped waiting for the store: what was acknowledged is delivered all the same")
		r.done = true
	}
}

// keepOnlySent lets go of what no connection was ever handed: nobody is owed an ack for it.
func (r *run) keepOnlySent() {
	for i := range r.pending {
		if r.pending[i].first.IsZero() {
			r.pending = r.pending[:i]
			break
		}
	}
	r.sent = min(r.sent, len(r.pending))
}

// request is the next message to send, nil when there is none now.
func (r *run) request() *engramv1.ObservationRequest {
	if r.unpause {
		return &engramv1.ObservationRequest{Operation: &engramv1.ObservationRequest_Flow{
			Flow: &engramv1.FlowControl{Action: engramv1.FlowControl_ACTION_RESUME},
		}}
	}
	if r.hold != nil {
		return nil
	}
	if p, sequence := r.next(); p != nil {
		return &engramv1.ObservationRequest{
			SequenceNumber: sequence,
			Operation:      &engramv1.ObservationRequest_Observation{Observation: p.Episode},
		}
	}
	if r.lines != nil || len(r.pending) > 0 || r.hungUp {
		return nil
	}
	return r.ending()
}

// ending closes the session when its input is at its end, and otherwise half-closes the stream, which leaves the session
// to be resumed.
func (r *run) ending() *engramv1.ObservationRequest {
	if r.cfg.KeepOpen || r.sum.Interrupted || r.why != nil {
		r.hungUp = true
		close(r.conn.hangUp)
		return nil
	}
	return &engramv1.ObservationRequest{Operation: &engramv1.ObservationRequest_Close{
		Close: &engramv1.StreamClose{DrainQueue: r.cfg.Drain, LastSequence: r.acked},
	}}
}

// handed notes that the connection took a message.
func (r *run) handed(req *engramv1.ObservationRequest) {
	switch req.Operation.(type) {
	case *engramv1.ObservationRequest_Flow:
		r.unpause = false
	case *engramv1.ObservationRequest_Close:
		r.closing, r.hungUp = true, true // nothing follows a close on this stream
	default:
		p := &r.pending[r.sent]
		if p.first.IsZero() {
			p.first = time.Now()
			r.sum.Sent++
		} else {
			r.sum.Resent++
		}
		r.sent++
	}
}

// summary completes the counts.
func (r *run) summary() Summary {
	s := r.sum
	s.LastAcked, s.BytesRead = r.acked, r.input.Bytes()
	s.Closed = r.closing
	s.Seconds = time.Since(r.started).Seconds()
	if s.Seconds > 0 {
		s.Rate = float64(s.Acked) / s.Seconds
	}
	s.P50, s.P99 = r.latency.percentile(50).Seconds(), r.latency.percentile(99).Seconds()
	return s
}
