package envelope

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
