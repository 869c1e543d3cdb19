package envelope

import (
	"errors"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxGroupDepth bounds the nesting of groups. No engram.v1 message has any, so they only come in unknown fields.
const maxGroupDepth = 32

// fault is what can be wrong with a field on the wire.
type fault uint8

const (
	intact fault = iota
	cutShort
	badTag
	badNumber
	badGroup
	tooDeep
)

// String completes "... in the field at byte 12".
func (f fault) String() string {
	switch f {
	case cutShort:
		return "the data ends"
	case badTag:
		return "invalid tag"
	case badNumber:
		return "number of more than 64 bits"
	case badGroup:
		return "group end without its start"
	case tooDeep:
		return "groups nested too deep"
	default:
		return "no fault"
	}
}

// field is one field of a message as it stands on the wire.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	value uint64 // of a varint or a fixed field; else left over from an earlier one
	data  []byte // of a length-delimited field; else left over from an earlier one
	start int    // offset of the tag in the message
	end   int    // offset behind the value
}

// reader walks over the fields of a message, in the order in which they come.
type reader struct {
	b   []byte
	pos int
	why fault
}

// next reads the next field into f. It returns false at the end and at the first fault; err tells which.
func (r *reader) next(f *field) bool {
	if r.pos == len(r.b) || r.why != intact {
		return false
	}
	n, why := consume(r.b[r.pos:], f, maxGroupDepth)
	if why == intact && f.typ == protowire.EndGroupType {
		why = badGroup
	}
	if why != intact {
		r.why = why
		return false
	}
	f.start, f.end = r.pos, r.pos+n
	r.pos = f.end
	return true
}

// err returns why the walk ended before the end of the message, or nil.
func (r *reader) err() error {
	if r.why == intact {
		return nil
	}
	return &malformedError{why: r.why, pos: r.pos}
}

// consume reads one field from the front of b and returns its length. A group is passed over as a whole; its end alone is
// returned as a field without a value, for the caller to judge.
func consume(b []byte, f *field, depth int) (int, fault) {
	tag, n := protowire.ConsumeVarint(b)
	if n < 0 {
		return 0, numberFault(n)
	}
	if num := tag >> 3; num < uint64(protowire.MinValidNumber) || num > uint64(protowire.MaxValidNumber) {
		return 0, badTag
	}
	f.num, f.typ = protowire.Number(tag>>3), protowire.Type(tag&7)
	m, why := 0, intact
	switch f.typ {
	case protowire.VarintType:
		f.value, m = protowire.ConsumeVarint(b[n:])
	case protowire.Fixed32Type:
		var v uint32
		v, m = protowire.ConsumeFixed32(b[n:])
		f.value = uint64(v)
	case protowire.Fixed64Type:
		f.value, m = protowire.ConsumeFixed64(b[n:])
	case protowire.BytesType:
		f.data, m = protowire.ConsumeBytes(b[n:])
	case protowire.StartGroupType:
		m, why = skipGroup(b[n:], f.num, depth)
	case protowire.EndGroupType:
	default:
		why = badTag
	}
	if m < 0 {
		why = numberFault(m)
	}
	return n + m, why
}

// skipGroup returns the length of the group that begins in front of b, its end included.
func skipGroup(b []byte, num protowire.Number, depth int) (int, fault) {
	if depth == 0 {
		return 0, tooDeep
	}
	var f field
	for pos := 0; pos < len(b); {
		n, why := consume(b[pos:], &f, depth-1)
		if why != intact {
			return 0, why
		}
		pos += n
		if f.typ != protowire.EndGroupType {
			continue
		}
		if f.num != num {
			return 0, badGroup
		}
		return pos, intact
	}
	return 0, cutShort
}

// numberFault tells the two faults apart that protowire finds in a number or a length.
func numberFault(n int) fault {
	if errors.Is(protowire.ParseError(n), io.ErrUnexpectedEOF) {
		return cutShort
	}
	return badNumber
}
