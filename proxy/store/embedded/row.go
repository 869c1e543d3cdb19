package embedded

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// row is what memory and index keep of one stored memory: 56 bytes, no pointers. Its place among its fellows is its number.
type row struct {
	version  uint64 // journal index
	at       int64  // when it was stored, Unix nanoseconds
	hash     uint64 // of space and id
	offset   uint64 // of its body in the segment's bodies file
	length   uint32 // of that body with header and padding
	space    uint32 // number in the space table
	replaces uint32 // number + 1 of the row this one took the place of; 0 for none
	sum      uint32 // CRC32C of the vector
	scale    float32
	flags    uint32
}

// Values of scale that are not one over the vector's length.
const (
	scaleZero    float32 = 0  // the vector is all zero: it is like nothing, its score is 0
	scaleExtreme float32 = -1 // float32 sums of its squares or products may overflow or vanish: it is scored in float64
)

// Rows with a flag belong to no space and no id, they only keep the numbers in step.
const (
	flagUnreadable = 1 // not even its head can be read: nobody knows whose it was
	flagStale      = 2 // it holds an older version than a row before it
)

const rowBytes = 56

func appendRow(dst []byte, r *row) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, r.version)
	dst = le.AppendUint64(dst, uint64(r.at)) //nolint:gosec // readRow takes the same 64 bits for an int64 again
	dst = le.AppendUint64(dst, r.hash)
	dst = le.AppendUint64(dst, r.offset)
	dst = le.AppendUint32(dst, r.length)
	dst = le.AppendUint32(dst, r.space)
	dst = le.AppendUint32(dst, r.replaces)
	dst = le.AppendUint32(dst, r.sum)
	dst = le.AppendUint32(dst, math.Float32bits(r.scale))
	return le.AppendUint32(dst, r.flags)
}

func readRow(b []byte, r *row) {
	le := binary.LittleEndian
	b = b[:rowBytes]
	r.version = le.Uint64(b)
	r.at = int64(le.Uint64(b[8:])) //nolint:gosec // the int64 that appendRow wrote
	r.hash = le.Uint64(b[16:])
	r.offset = le.Uint64(b[24:])
	r.length = le.Uint32(b[32:])
	r.space = le.Uint32(b[36:])
	r.replaces = le.Uint32(b[40:])
	r.sum = le.Uint32(b[44:])
	r.scale = math.Float32frombits(le.Uint32(b[48:]))
	r.flags = le.Uint32(b[52:])
}

// end is where the body behind this row's begins.
func (r *row) end() uint64 { return r.offset + uint64(r.length) }

// hashOf is the key of the id table. It stands on disk, and ids are chosen by clients: a cryptographic hash gives nobody a
// cheap way to make them all collide. That two ids share a hash is allowed for all the same: see table.go.
func hashOf(space string, id []byte) uint64 {
	var b [1 + maxSpace + maxID]byte
	b[0] = byte(len(space)) //nolint:gosec // at most maxSpace
	n := 1 + copy(b[1:], space)
	n += copy(b[n:], id)
	sum := sha256.Sum256(b[:n])
	return binary.LittleEndian.Uint64(sum[:])
}

// scaleOf returns the factor that makes a vector's length 1, or one of the special values.
func scaleOf(vector []byte) float32 {
	var sum float64
	for i := 0; i < len(vector); i += 4 {
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(vector[i:])))
		sum += v * v
	}
	// With lengths in this range every product with a vector of length 1 stays far from the ends of float32.
	const smallest, largest = 1e-10, 1e10
	switch length := math.Sqrt(sum); {
	case length == 0:
		return scaleZero
	case length < smallest || length > largest:
		return scaleExtreme
	default:
		return float32(1 / length)
	}
}

// appendFloats appends numbers as they lie on disk.
func appendFloats(dst []byte, numbers []float32) []byte {
	for _, v := range numbers[:store.Dimensions] {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	return dst
}
