package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// What ends a call. Each text says what to do next.

func errNoSession(id string, timeout time.Duration) error {
	return status.Errorf(codes.NotFound,
		"session %q is not known: it never was, or it had no stream for %v; start a new one with an empty session_id", id, timeout)
}

func errSessionClosed(id string) error {
	return status.Errorf(codes.FailedPrecondition,
		"session %s was closed by its client or an operator: start a new one with an empty session_id", id)
}

func errTakenOver(id string) error {
	return status.Errorf(codes.Aborted,
		"another stream has taken session %s over, or an operator closes it: this stream's client must not resume it", id)
}

func errInitFirst(got string) error {
	return status.Errorf(codes.FailedPrecondition,
		"expected init as the first message of the stream, got %s: send init, wait for its ack, then send observations", got)
}

func errStopping() error {
	return status.Error(codes.Unavailable, "the sidecar is stopping: reconnect, and resume the session at the sequence after "+
		"the initial_sequence that its init_ack names")
}

func errStoppingCall() error {
	return status.Error(codes.Unavailable, "the sidecar is stopping: call again when it is back")
}

func errJournalFailed(err error) error {
	return status.Errorf(codes.Unavailable, "%v; reconnect, and resume the session at the sequence after the "+
		"initial_sequence that its init_ack names: what was acked is kept", err)
}

func errJournalFailedCall(err error) error {
	return status.Errorf(codes.Unavailable, "%v; call again when the sidecar is back: what was answered is kept", err)
}

func errInternal(method string) error {
	return status.Errorf(codes.Internal, "%s failed inside the sidecar, and the failure was logged: "+
		"a stream's session can be resumed", method)
}

// errExhausted refuses a durable write for want of room, with the time after which to try again.
func errExhausted(reason string, after time.Duration) error {
	st := status.New(codes.ResourceExhausted, fmt.Sprintf("%s; retry after %v", reason, after))
	if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)}); err == nil {
		st = detailed
	}
	return st.Err()
}

// retryHint is what clients are told of a drain that is expected to take d: to the tenth of a second, and never nothing.
func retryHint(d time.Duration) time.Duration {
	if d <= 0 {
		return time.Second
	}
	return max(d.Round(100*time.Millisecond), 100*time.Millisecond)
}

// statusOfWrite turns what the journal said to a write that stands alone into what ends the call.
func (s *Server) statusOfWrite(err error, lane wal.Lane) error {
	switch {
	case errors.Is(err, wal.ErrFull):
		s.observer.Refused(ReasonOverloaded)
		return errExhausted(err.Error(), retryHint(s.deps.Lanes.Load(lane).RetryAfter))
	case errors.Is(err, wal.ErrFailed):
		s.observer.Refused(ReasonUnavailable)
		return errJournalFailed(err)
	case errors.Is(err, wal.ErrClosed):
		s.observer.Refused(ReasonUnavailable)
		return errStopping()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	default:
		s.log.Error("a write was refused by the journal", "error", err)
		return status.Errorf(codes.Internal, "the journal refused the write: %v", err)
	}
}

// statusOfCall does so for a write that belongs to no session: its client has nothing to resume.
func (s *Server) statusOfCall(err error, lane wal.Lane) error {
	switch {
	case errors.Is(err, wal.ErrFailed):
		s.observer.Refused(ReasonUnavailable)
		return errJournalFailedCall(err)
	case errors.Is(err, wal.ErrClosed):
		s.observer.Refused(ReasonUnavailable)
		return errStoppingCall()
	default:
		return s.statusOfWrite(err, lane)
	}
}

// statusOfAttach turns a session's refusal into what ends the stream.
func (s *Server) statusOfAttach(err error, id string) error {
	s.observer.Refused(ReasonSession)
	switch {
	case errors.Is(err, session.ErrClosed):
		return errSessionClosed(id)
	case errors.Is(err, session.ErrTooMany):
		return status.Error(codes.ResourceExhausted, err.Error())
	case errors.Is(err, session.ErrFenced):
		return errTakenOver(id)
	default:
		return errNoSession(id, s.bounds().Session.Timeout)
	}
}
