package observe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// begin opens the session, or goes on with the one that was asked for. It does not try again: a sidecar that is not there
// at the start is better said at once.
func (r *run) begin() error {
	c, ack, err := connect(r.hard, r.client, r.cfg, r.cfg.Session)
	if err != nil {
		return err
	}
	r.conn, r.sum.Session = c, ack.GetSessionId()
	r.acked = ack.GetInitialSequence()
	if r.cfg.FromStart {
		r.skip = r.acked
	}
	return nil
}

// lost handles the end of the stream: the end that was waited for, one that is final, or one to come back from.
func (r *run) lost(err error) error {
	r.conn.close()
	r.conn = nil
	if r.hungUp && (!r.closing || err == nil) { // nothing is owed any more
		r.done = true
		return nil
	}
	if err != nil && !passing(err) {
		return err
	}
	return r.regain(err)
}

// regain connects again and again, with growing pauses, and finds out what the sidecar has.
func (r *run) regain(cause error) error {
	r.cfg.Notice("connection lost after observation %d: %s; trying again", r.acked, reason(cause))
	began := time.Now()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		c, ack, err := connect(r.hard, r.client, r.cfg, r.sum.Session)
		switch {
		case err == nil:
			return r.resumed(c, ack)
		case r.closing && over(err):
			r.cfg.Notice("the connection was lost while the session was closed; it is closed")
			r.done = true
			return nil
		case !passing(err):
			return err
		case time.Since(began) > r.cfg.RetryFor:
			return fmt.Errorf("connection lost for %v: %w", r.cfg.RetryFor, err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-r.hard.Done():
			return fmt.Errorf("interrupted while the connection was lost, %d observations were sent and are not acknowledged: %w", r.summary().Owed(), err)
		}
	}
}

// resumed takes up the session where the sidecar has it: what it has is acked, what it has not is sent again.
func (r *run) resumed(c *conn, ack *engramv1.StreamInitAck) error {
	r.conn, r.hungUp = c, false
	r.sum.Reconnects++
	has := ack.GetInitialSequence()
	if has < r.acked {
		return fmt.Errorf("session %s: %w: the sidecar resumes after %d, but had acknowledged %d", r.sum.Session, ErrLoss, has, r.acked)
	}
	for r.acked < has {
		if len(r.pending) == 0 || r.pending[0].first.IsZero() {
			return fmt.Errorf("session %s: %w: the sidecar has observation %d, which was not sent from here", r.sum.Session, ErrOutOfStep, has)
		}
		r.settle()
	}
	r.goBack()
	r.cfg.Notice("connected again; the sidecar has observation %d, %d are sent again", has, len(r.pending))
	return nil
}

// passing says that a failure may go away by itself. The end of a stream without an error is one too, where nobody
// asked for it.
func passing(err error) bool {
	if err == nil || errors.Is(err, errNoAnswer) {
		return true
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted:
		return !errors.Is(err, errProtocol) && !errors.Is(err, context.Canceled)
	}
	return false
}

// over says that a session is there no more.
func over(err error) bool {
	code := status.Code(err)
	return code == codes.FailedPrecondition || code == codes.NotFound
}

func reason(err error) string {
	if err == nil {
		return "the server ended the stream"
	}
	return status.Convert(err).Message()
}
