package envelope

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Dimensions is the length of every embedding.
const Dimensions = 768

// Vector is a view of an embedding in the message that holds it. The zero Vector is empty.
type Vector struct {
	message []byte
	num     protowire.Number // of the embedding among the message's fields
	n       int              // floats seen
	offset  int              // of the floats in the message, as long as they lie in one piece
	pieces  int              // runs of floats: packed chunks and single ones
}

// Len returns the number of floats: 768 after a scan that succeeded.
func (v *Vector) Len() int { return v.n }

// Packed returns the floats as they lie in the message, 4 little-endian bytes each, and where they begin in it. Ok is
// false where they are spread over several fields, which encoders may do but none in wide use does.
func (v *Vector) Packed() (b []byte, offset int, ok bool) {
	if v.pieces != 1 {
		return nil, 0, false
	}
	return v.message[v.offset : v.offset+4*v.n : v.offset+4*v.n], v.offset, true
}

// AppendFloats appends the embedding to dst, however it is laid out.
func (v *Vector) AppendFloats(dst []float32) []float32 {
	dst = slices.Grow(dst, v.n)
	if b, _, ok := v.Packed(); ok {
		return appendPacked(dst, b)
	}
	var f field
	r := reader{b: v.message}
	for r.next(&f) {
		switch {
		case f.num != v.num:
		case f.typ == protowire.Fixed32Type:
			dst = append(dst, f.float())
		default:
			dst = appendPacked(dst, f.data)
		}
	}
	return dst
}

// appendPacked appends floats in fours: a fixed number of them needs one look at the bounds.
func appendPacked(dst []float32, b []byte) []float32 {
	dst = slices.Grow(dst, len(b)/4)
	for ; len(b) >= 16; b = b[16:] {
		from := (*[16]byte)(b)
		x, y := binary.LittleEndian.Uint64(from[:8]), binary.LittleEndian.Uint64(from[8:])
		dst = append(dst, low(x), low(x>>32), low(y), low(y>>32))
	}
	for ; len(b) >= 4; b = b[4:] {
		dst = append(dst, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return dst
}

// low is the float in the lower half of two.
func low(pair uint64) float32 { return math.Float32frombits(uint32(pair)) } //nolint:gosec // the lower half is meant

// take adds the floats of one field, a packed chunk or a single one.
func (v *Vector) take(f *field) error {
	if f.typ == protowire.Fixed32Type {
		if exponent := uint32(f.value) & nonFinite; exponent == nonFinite { //nolint:gosec // it has 32 bits
			return notFinite(v.n, f.float())
		}
		v.add(1, f.end-4)
		return nil
	}
	if len(f.data)%4 != 0 {
		return &FieldError{
			Field: "embedding", Expected: "packed floats of 4 bytes each", Got: strconv.Itoa(len(f.data)) + " bytes",
			cause: ErrMalformed,
		}
	}
	if !allFinite(f.data) {
		return v.nameNonFinite(f.data)
	}
	if len(f.data) > 0 {
		v.add(len(f.data)/4, f.end-len(f.data))
	}
	return nil
}

func (v *Vector) add(n, offset int) {
	v.n += n
	v.pieces++
	v.offset = offset
}

// check refuses any number of floats but one.
func (v *Vector) check() error {
	if v.n != Dimensions {
		return &FieldError{Field: "embedding", Expected: "768 dimensions", Got: strconv.Itoa(v.n)}
	}
	return nil
}

// nonFinite is the exponent of infinities and NaNs, all ones.
const nonFinite = 0x7f800000

// carry has a sign bit set for each infinity or NaN in a pair of floats: adding 1 to an exponent carries into the sign bit,
// which is masked out before, exactly if the exponent is all ones.
func carry(pair uint64) uint64 {
	const (
		exponents = nonFinite<<32 | nonFinite
		one       = 0x00800000<<32 | 0x00800000
	)
	return pair&exponents + one
}

// allFinite gathers the carries of packed floats and looks at them once: a branch for each would cost more than all the rest.
func allFinite(b []byte) bool {
	const signs = 0x80000000<<32 | 0x80000000
	var sum uint64
	for ; len(b) >= 32; b = b[32:] {
		from := (*[32]byte)(b)
		sum |= carry(binary.LittleEndian.Uint64(from[:8])) | carry(binary.LittleEndian.Uint64(from[8:16])) |
			carry(binary.LittleEndian.Uint64(from[16:24])) | carry(binary.LittleEndian.Uint64(from[24:]))
	}
	for ; len(b) >= 4; b = b[4:] {
		sum |= carry(uint64(binary.LittleEndian.Uint32(b)))
	}
	return sum&signs == 0
}

// nameNonFinite finds the float that allFinite has seen in a chunk.
func (v *Vector) nameNonFinite(b []byte) error {
	for i := 0; len(b) >= 4; i, b = i+1, b[4:] {
		if bits := binary.LittleEndian.Uint32(b); bits&nonFinite == nonFinite {
			return notFinite(v.n+i, math.Float32frombits(bits))
		}
	}
	return nil
}

func notFinite(i int, v float32) error {
	return &FieldError{Field: "embedding[" + strconv.Itoa(i) + "]", Expected: "a finite number", Got: formatFloat(v)}
}
