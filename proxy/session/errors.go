package session

import (
	"errors"
	"fmt"
)

// Why a session refuses. Test with errors.Is.
var (
	// ErrNotFound means that there is no such session, or no more: its timeout has passed.
	ErrNotFound = errors.New("session not found")
	// ErrClosed means that the session's client has closed it.
	ErrClosed = errors.New("session closed")
	// ErrPaused means that the session's client has paused it.
	ErrPaused = errors.New("session paused")
	// ErrFenced means that another stream has taken the session over.
	ErrFenced = errors.New("session taken over by another stream")
	// ErrTooMany means that the limit of open sessions is reached.
	ErrTooMany = errors.New("too many sessions")
)

// SequenceError refuses a sequence number that is not the next one. Nothing was used up.
type SequenceError struct {
	Expected uint64
	Got      uint64
}

// Error names both numbers and the way out.
func (e *SequenceError) Error() string {
	return fmt.Sprintf("sequence mismatch: expected %d, got %d; resend from %d", e.Expected, e.Got, e.Expected)
}
