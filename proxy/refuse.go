package proxy

import (
	"errors"
	"fmt"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
)

// refuse answers the message in hand in-band: it used no sequence up, and the stream goes on.
func (o *observation) refuse(reason, message string) {
	o.refuseAs(reason, envelope.Status{State: envelope.StateError, Message: message})
}

func (o *observation) refuseAs(reason string, status envelope.Status) {
	o.s.observer.Refused(reason)
	o.in.text = envelope.AppendStatus(o.in.text[:0], o.header(o.in.obs.Sequence), status)
	o.reply(answerReady, o.in.text)
}

// refuseSession answers with what the session's rules say. A fenced stream answers nothing more: it ends.
func (o *observation) refuseSession(err error) {
	var mismatch *session.SequenceError
	switch {
	case errors.As(err, &mismatch):
		if o.in.full && mismatch.Got > mismatch.Expected { // one of those that were sent behind the refused one
			o.refuseAs(ReasonOverloaded, o.overloaded("an observation before it was refused for want of room"))
			return
		}
		o.refuse(ReasonSequence, err.Error())
	case errors.Is(err, session.ErrPaused):
		o.refuseAs(ReasonPaused, envelope.Status{
			State:   envelope.StatePaused,
			Message: fmt.Sprintf("the session is paused: send flow RESUME, then resend from %d", o.att.Next()),
		})
	case errors.Is(err, session.ErrClosed):
		o.refuse(ReasonSession, "the session is closed: start a new one on a new stream, with an empty session_id")
	}
}

func isSessionError(err error) bool {
	var mismatch *session.SequenceError
	return errors.As(err, &mismatch) || errors.Is(err, session.ErrFenced) || errors.Is(err, session.ErrPaused) ||
		errors.Is(err, session.ErrClosed)
}

func (o *observation) refuseFull(err error) { o.refuseAs(ReasonOverloaded, o.overloaded(err.Error())) }

// overloaded is the status of an observation that was refused for want of room.
func (o *observation) overloaded(why string) envelope.Status {
	status := o.status(envelope.StateOverloaded, "")
	after := retryHint(o.s.deps.Lanes.Load(o.lane).RetryAfter)
	status.Message = fmt.Sprintf("%s; retry after %v, resend from %d", why, after, o.att.Next())
	return status
}

// status describes the session's way to the store.
func (o *observation) status(state envelope.State, message string) envelope.Status {
	load := o.s.deps.Lanes.Load(o.lane)
	return envelope.Status{
		State: state, Message: message,
		QueueDepth: clamp32(load.Depth), QueueCapacity: clamp32(max(load.Capacity, 1)),
		Pressure: float32(o.s.gauge.pressure(o.lane)),
	}
}
