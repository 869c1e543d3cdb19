package observe

import (
	"errors"
	"fmt"
	"strings"
	"time"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// Errors that end a run. Test with errors.Is.
var (
	// ErrLoss means that the sidecar has less than it acknowledged.
	ErrLoss = errors.New("acknowledged observations were lost")
	// ErrOutOfStep means that somebody else feeds the same session.
	ErrOutOfStep = errors.New("another client feeds the session")
)

// overloadedPause is how long an overloaded sidecar is left alone before the observations are sent again.
const overloadedPause = time.Second

// answer handles one message of the server.
func (r *run) answer(resp *engramv1.ObservationResponse) error {
	if ack := resp.GetAck(); ack != nil {
		return r.acknowledged(ack, resp.GetSequenceNumber())
	}
	status := resp.GetStatus()
	switch status.GetState() {
	case engramv1.StreamStatus_STATE_CLOSED:
		r.sum.Store = status.GetMessage()
		r.done = true
	case engramv1.StreamStatus_STATE_ERROR, engramv1.StreamStatus_STATE_OVERLOADED, engramv1.StreamStatus_STATE_PAUSED:
		return r.refused(status, resp.GetSequenceNumber())
	}
	return nil
}

// acknowledged takes the ack of the oldest observation. Acks beyond the first (INDEXED, REJECTED) were not asked for.
func (r *run) acknowledged(ack *engramv1.ObservationAck, sequence uint64) error {
	if ack.GetStatus() != engramv1.ObservationAck_STATUS_ACCEPTED {
		return nil
	}
	if r.sent == 0 || sequence != r.oldest() {
		return fmt.Errorf("%w: expected the ack of observation %d, got that of %d", errProtocol, r.oldest(), sequence)
	}
	r.settle()
	return nil
}

// settle counts the oldest observation as acked.
func (r *run) settle() {
	p := r.ack()
	r.sum.Acked++
	r.heard()
	r.latency.add(time.Since(p.first))
}

// refused handles an in-band refusal. Only that of the oldest unacked observation says something: refusals of those behind
// it are the gaps that it made.
func (r *run) refused(status *engramv1.StreamStatus, sequence uint64) error {
	if sequence == 0 {
		if status.GetState() == engramv1.StreamStatus_STATE_ERROR {
			return fmt.Errorf("the sidecar refused: %s", status.GetMessage())
		}
		return nil
	}
	if r.sent == 0 || sequence != r.oldest() {
		return nil
	}
	switch status.GetState() {
	case engramv1.StreamStatus_STATE_OVERLOADED:
		r.hold = time.After(overloadedPause)
	case engramv1.StreamStatus_STATE_PAUSED:
		r.unpause = true
	default:
		return r.invalid(status.GetMessage())
	}
	r.goBack()
	return nil
}

// invalid leaves the oldest observation out, or ends the reading because of it.
func (r *run) invalid(message string) error {
	if strings.HasPrefix(message, "sequence mismatch") {
		return fmt.Errorf("session %s: %w: %s", r.sum.Session, ErrOutOfStep, message)
	}
	err := &LineError{r.pending[0].Line, fmt.Errorf("refused by the sidecar: %s", message)}
	r.sum.Sent--
	if r.cfg.SkipInvalid {
		r.sum.Skipped++
		r.cfg.Notice("%v; left out", err)
		r.drop()
		r.goBack()
		return nil
	}
	for _, p := range r.pending[1:] { // those behind it came out as gaps: the sidecar has none of them
		if !p.first.IsZero() {
			r.sum.Sent--
		}
	}
	r.pending, r.sent = nil, 0
	r.stop(err)
	return nil
}
