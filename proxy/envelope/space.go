package envelope

import "google.golang.org/protobuf/encoding/protowire"

// The length of a memory space's name, in bytes.
const (
	MinSpace = 3
	MaxSpace = 64
)

// ValidSpace refuses a memory space whose name is not 3 to 64 characters of a-z, 0-9, "-" and "_". The empty name, which
// stands for the default space, is for the caller to replace first. The error is a *FieldError.
func ValidSpace(space []byte) error {
	if len(space) >= MinSpace && len(space) <= MaxSpace && !hasForeign(space) {
		return nil
	}
	return &FieldError{
		Field:    "memory_space_id",
		Expected: `3 to 64 characters of a-z, 0-9, "-" and "_"`,
		Got:      quote(space),
	}
}

func hasForeign(space []byte) bool {
	for _, c := range space {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return true
		}
	}
	return false
}

// fieldSpace is memory_space_id's number in every request.
const fieldSpace = 1

// SpaceOf reads the memory space that a request names, "" for none, whichever request it is: memory_space_id is field 1 of
// all. As everywhere in protobuf the last one counts. The space is as it came, see ValidSpace. The error wraps ErrMalformed,
// or is a *FieldError where field 1 is no text.
func SpaceOf(request []byte) (space []byte, err error) {
	var f field
	r := reader{b: request}
	for r.next(&f) {
		if f.num != fieldSpace {
			continue
		}
		if f.typ != protowire.BytesType {
			return nil, &FieldError{Field: "memory_space_id", Expected: "a text", Got: "another kind of field"}
		}
		space = f.data
	}
	return space, r.err()
}
