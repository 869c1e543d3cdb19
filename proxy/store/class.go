package store

import (
	"errors"
	"fmt"
)

// ErrBehind is the answer to an item that Put did not try, because an earlier one of its session in the same batch was
// not stored. It says nothing against the item.
var ErrBehind = errors.New("not tried: an earlier record of the same session in this batch was not stored")

// Class says what should happen next to what a store did not take.
type Class uint8

// The classes of refusal. Zero is no refusal.
const (
	ClassNone        Class = iota // stored
	ClassTransient                // this item failed; try it again, others go on
	ClassPermanent                // this item will never be taken
	ClassDenied                   // the store refuses the caller; wait, bury nothing
	ClassUnavailable              // the store cannot be reached or is not able; wait, bury nothing
)

// String returns the class as operators see it in logs, metrics and status.
func (c Class) String() string {
	switch c {
	case ClassNone:
		return "none"
	case ClassTransient:
		return "transient"
	case ClassPermanent:
		return "permanent"
	case ClassDenied:
		return "denied"
	case ClassUnavailable:
		return "unavailable"
	default:
		return fmt.Sprintf("class %d", uint8(c))
	}
}

// Permanent marks err as the refusal of one item for good (INVALID_ARGUMENT, OUT_OF_RANGE). nil stays nil.
func Permanent(err error) error { return classify(ClassPermanent, err) }

// Denied marks err as the refusal of the caller (UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED, NOT_FOUND): it will
// last until an operator acts, and is nobody's fault in the batch. nil stays nil.
func Denied(err error) error { return classify(ClassDenied, err) }

// Unavailable marks err as the failure of the whole store. nil stays nil.
func Unavailable(err error) error { return classify(ClassUnavailable, err) }

// ClassOf returns the class of err: the outermost mark wins, an error without a mark is transient, nil is ClassNone.
func ClassOf(err error) Class {
	if err == nil {
		return ClassNone
	}
	var c *classified
	if errors.As(err, &c) {
		return c.class
	}
	return ClassTransient
}

// classified adds a class to an error and changes nothing else: its text stays the store's own.
type classified struct {
	class Class
	cause error
}

func classify(class Class, err error) error {
	if err == nil {
		return nil
	}
	return &classified{class: class, cause: err}
}

func (c *classified) Error() string { return c.cause.Error() }
func (c *classified) Unwrap() error { return c.cause }
