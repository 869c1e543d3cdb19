package wal

import (
	"errors"
	"fmt"
)

// What an Append or a Read can come to. Test with errors.Is.
var (
	// ErrFull refuses a record because quota, reserve or disk leave no room. Nothing was kept of it; the journal goes on,
	// and takes records again in the same process when there is room.
	ErrFull = errors.New("journal full")
	// ErrFailed means that the disk refused a write or an fsync in a way that leaves no certainty. No record after the
	// last acknowledged one is durable, the journal takes no more, and the process must end and recover at its next start.
	ErrFailed = errors.New("journal failed")
	// ErrClosed means that the journal was closed in good order; what was acknowledged is on disk.
	ErrClosed = errors.New("journal closed")
	// ErrRefused answers an Append of a producer one of whose earlier records was refused with ErrFull: to take this one
	// would leave a hole in its sequence. Roll back, then call Producer.Reset.
	ErrRefused = errors.New("an earlier record of this producer was refused")
	// ErrDamaged means that bytes on disk are not those that were written.
	ErrDamaged = errors.New("journal damaged")
	// ErrNotFound means that no generation holds the index: it was released, or never given.
	ErrNotFound = errors.New("journal index not found")
	// ErrNewerFormat refuses a directory that a newer version wrote. Nothing in it was touched.
	ErrNewerFormat = errors.New("newer disk format")
	// ErrLocked means that another process holds the data directory.
	ErrLocked = errors.New("data directory in use")
)

// DamageError names damaged bytes, and as far as can be known whose they are. It unwraps to ErrDamaged.
type DamageError struct {
	File     string // path of the segment
	Offset   int64  // first damaged byte
	Length   int64  // damaged bytes, 0 where the end is not known
	First    uint64 // first and last journal index concerned, 0 where not known
	Last     uint64
	Session  SessionID // zero where not known
	Sequence uint64    // 0 where not known
	Space    string    // "" where not known
	Kind     Kind      // 0 where not known
	Reason   string
}

// Error says which bytes of which file, and whose they are.
func (e *DamageError) Error() string {
	s := fmt.Sprintf("%v: %s at offset %d: %s", ErrDamaged, e.File, e.Offset, e.Reason)
	if e.First != 0 {
		s += fmt.Sprintf("; index %d to %d", e.First, e.Last)
	}
	if !e.Session.IsZero() {
		s += fmt.Sprintf("; session %v sequence %d", e.Session, e.Sequence)
	}
	return s
}

// Unwrap makes errors.Is(err, ErrDamaged) true.
func (e *DamageError) Unwrap() error { return ErrDamaged }
