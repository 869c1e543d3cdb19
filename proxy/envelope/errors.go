package envelope

import (
	"errors"
	"fmt"
	"strconv"
)

// ErrMalformed says that the bytes are no protobuf message. Test for it with errors.Is.
var ErrMalformed = errors.New("malformed bytes")

// FieldError is the refusal of one field of a message that can be read otherwise. Its text is meant for the client:
// "embedding: expected 768 dimensions, got 767".
type FieldError struct {
	Field    string // name as in the .proto file, with a path or an index where it has one: when.nanos, embedding[17]
	Expected string
	Got      string

	cause error // wraps ErrMalformed where the field's own bytes are
}

// Error returns field, expectation and value in one line of valid UTF-8.
func (e *FieldError) Error() string {
	return e.Field + ": expected " + e.Expected + ", got " + e.Got
}

// Unwrap returns an ErrMalformed where the field's own bytes cannot be read, else nil.
func (e *FieldError) Unwrap() error { return e.cause }

// malformedError says where a walk over a message had to end. It is ErrMalformed.
type malformedError struct {
	why fault
	pos int
}

func (e *malformedError) Error() string {
	return fmt.Sprintf("%v: %v in the field at byte %d", ErrMalformed, e.why, e.pos)
}

func (e *malformedError) Unwrap() error { return ErrMalformed }

// within turns a fault of the message in a field into a fault of that field.
func within(name string, err error) error {
	if inner, ok := errors.AsType[*FieldError](err); ok {
		inner.Field = name + "." + inner.Field
		return inner
	}
	return &FieldError{Field: name, Expected: "a well-formed message", Got: err.Error(), cause: err}
}

// quoteLimit is how much of a client's value a message repeats, in bytes.
const quoteLimit = 64

// quote makes a client's bytes fit for a message: escaped, and not longer than a line.
func quote(b []byte) string {
	if len(b) <= quoteLimit {
		return strconv.Quote(string(b))
	}
	return fmt.Sprintf("%s... (%d bytes)", strconv.Quote(string(b[:quoteLimit])), len(b))
}
