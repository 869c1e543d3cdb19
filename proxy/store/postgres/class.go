package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

var (
	errClosed = errors.New("the store is closed")
	// errUnknown is what is said of a transaction whose answer was lost.
	errUnknown = errors.New("no answer: what was sent may be stored or not, it will be sent again, which stores nothing twice")
	// errTooOften is what is said of a transaction that always met another one.
	errTooOften = errors.New("other transactions got into the way again and again")
)

// A verdict is what an error means.
type verdict struct {
	class store.Class
	ofRow bool // it is about one row: the others can be stored
	again bool // the same transaction may succeed at once
}

// judge reads an error by its SQLSTATE; doc.go has the table. What bears none came from the way to the server: nothing
// is known of what was sent.
func judge(err error) verdict {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		return verdict{class: store.ClassUnavailable}
	}
	return judgeState(refusal.Code, refusal.ConstraintName)
}

func judgeState(state, constraint string) verdict {
	const classLength = 2
	switch state[:min(classLength, len(state))] {
	case "23":
		if state == checkViolation && constraint == "" {
			return verdict{class: store.ClassTransient, ofRow: true} // no partition takes the row: an operator can make one
		}
		return verdict{class: store.ClassPermanent, ofRow: true}
	case "22", "54":
		return verdict{class: store.ClassPermanent, ofRow: true}
	case "08", "25", "53", "55", "57", "58", "F0":
		return verdict{class: store.ClassUnavailable}
	case "0A", "0L", "0P", "26", "28", "3D", "3F", "42":
		return verdict{class: store.ClassDenied}
	case "40":
		return verdict{class: store.ClassUnavailable, again: true}
	default:
		return verdict{class: store.ClassTransient, ofRow: true}
	}
}

// checkViolation is also what a partitioned table says to a row that no partition takes.
const checkViolation = "23514"

// mark says where an error came from and gives it its class.
func (s *Store) mark(err error, class store.Class) error {
	err = fmt.Errorf("postgres at %s: %w", s.address, err)
	switch class {
	case store.ClassPermanent:
		return store.Permanent(err)
	case store.ClassDenied:
		return store.Denied(err)
	case store.ClassUnavailable:
		return store.Unavailable(err)
	default:
		return err
	}
}

// classify marks the error of a call under ctx by what it means for the whole store.
func (s *Store) classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return s.mark(because(ctx, err), judge(err).class)
}

// because adds why ctx ended, where it has: the driver only knows that it was interrupted.
func because(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}
