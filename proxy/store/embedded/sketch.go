package embedded

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// A sketch is a vector in a quarter of its bytes: 768 codes of one byte, a factor that makes them a vector of length 1 again,
// and how far that one is from the vector's own direction. What is far from it is known, and so is how far a cosine by the
// sketch can be from the cosine by the vector. For a cue q, a vector v and its sketch s, all of length 1, and the cue's own
// codes c (Cauchy and Schwarz):
//
//	|q·v - c·s| ≤ |q|·|v - s| + |q - c|·|s|
//
// A row whose cosine cannot reach the worst of the best, by this bound, need not be looked at. Of all others the vector
// decides, so that answers are what they would be without sketches, to the bit.
//
// A sketch names the row it was made of (checksum of the vector, version, time) and has a checksum of its own. So nothing has
// to be synced, and nothing be recovered: one that is missing, torn or of another row is made again.
const (
	dimensions = store.Dimensions

	sketchFactor  = dimensions // float32
	sketchErr     = 772        // float32
	sketchVector  = 776        // CRC32C of the vector
	sketchSum     = 780        // CRC32C of the rest, in the order in which it stands
	sketchVersion = 784
	sketchAt      = 792
	sketchBytes   = 800 // a multiple of 16: no load of the kernel straddles two cache lines

	codeMost  = 127
	queryMost = 16383 // 768 · 127 · 16383 < 2³¹: no sum of products overflows
)

// codes are a sketch's numbers.
type codes [dimensions]int8

// rounding bounds what the sums and products in float32 of the exact cosine and of this one can add to the error: each of
// 768 additions is off by at most 2⁻²⁴ of the sum of the sizes, which is at most 1. That makes 0.00005.
const rounding = 1e-4

// appendSketch appends the sketch of a row whose vector is what was written and has a usual length.
func appendSketch(dst []byte, vector []float32, r *row) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, sketchBytes)...)
	b := dst[start:]
	factor, off := quantise((*codes)(unsafe.Pointer(&b[0])), vector, r.scale) //nolint:gosec // b has more bytes than codes, and int8 needs no alignment
	le := binary.LittleEndian
	le.PutUint32(b[sketchFactor:], math.Float32bits(factor))
	le.PutUint32(b[sketchErr:], math.Float32bits(off))
	le.PutUint32(b[sketchVector:], r.sum)
	le.PutUint64(b[sketchVersion:], r.version)
	le.PutUint64(b[sketchAt:], uint64(r.at)) //nolint:gosec // isSketchOf takes the same 64 bits for an int64 again
	le.PutUint32(b[sketchSum:], sumOfSketch(b))
	return dst
}

func sumOfSketch(b []byte) uint32 {
	return crcUpdate(checksum(b[:sketchSum]), b[sketchVersion:sketchBytes])
}

// isSketchOf says that b is the sketch of this row, whole.
func isSketchOf(b []byte, r *row) bool {
	le := binary.LittleEndian
	return le.Uint64(b[sketchVersion:]) == r.version && int64(le.Uint64(b[sketchAt:])) == r.at && //nolint:gosec // the int64 that appendSketch wrote
		le.Uint32(b[sketchVector:]) == r.sum && le.Uint32(b[sketchSum:]) == sumOfSketch(b)
}

// quantise writes a vector's codes. Codes times factor is the sketch, of about length 1; off bounds its distance from the
// vector times scale.
func quantise(out *codes, vector []float32, scale float32) (factor, off float32) {
	step := largest(vector) / codeMost
	inverse := 1 / step
	// Adding this rounds a small number to the nearest whole one, which then stands in the lowest bits.
	const shift = 3 << 22
	var s0, s1, s2, s3 float32
	for i := 0; i+4 <= dimensions; i += 4 {
		v, c := vector[i:i+4:i+4], out[i:i+4:i+4]
		m0, m1, m2, m3 := v[0]*inverse+shift, v[1]*inverse+shift, v[2]*inverse+shift, v[3]*inverse+shift
		c[0], c[1] = int8(math.Float32bits(m0)), int8(math.Float32bits(m1)) //nolint:gosec // the lowest byte is wanted: the shift has put the code there
		c[2], c[3] = int8(math.Float32bits(m2)), int8(math.Float32bits(m3)) //nolint:gosec // likewise
		d0, d1, d2, d3 := v[0]-(m0-shift)*step, v[1]-(m1-shift)*step, v[2]-(m2-shift)*step, v[3]-(m3-shift)*step
		s0, s1, s2, s3 = s0+d0*d0, s1+d1*d1, s2+d2*d2, s3+d3*d3
	}
	// Each difference is off by at most 2⁻²³ of most, 768 of them by less than step / 1000; and 192 additions by 0.00002.
	distance := math.Sqrt(float64(s0)+float64(s1)+float64(s2)+float64(s3))*1.0001 + float64(step)/1000
	return float32(float64(step) * float64(scale)), float32(distance * float64(scale) * 1.000001)
}

// largest returns the size of the number that is furthest from 0. Without their signs floats are ordered as their bits are.
func largest(vector []float32) float32 {
	var m0, m1 uint32
	for i := 0; i+2 <= len(vector); i += 2 {
		m0 = max(m0, math.Float32bits(vector[i])&math.MaxInt32)
		m1 = max(m1, math.Float32bits(vector[i+1])&math.MaxInt32)
	}
	return math.Float32frombits(max(m0, m1))
}

// sketchedQuery is a cue as sketches are compared with it.
type sketchedQuery struct {
	codes  [dimensions]int16
	step   float32
	length float32 // of the cue: 1, or 0
	off    float32 // distance of the codes from the cue
}

func sketchQuery(q *sketchedQuery, unit []float32) {
	var most, squares, distance float64
	for _, v := range unit {
		most = max(most, math.Abs(float64(v)))
		squares += float64(v) * float64(v)
	}
	*q = sketchedQuery{step: float32(most / queryMost), length: float32(math.Sqrt(squares) * 1.000001)}
	if q.step == 0 {
		return
	}
	for i, v := range unit {
		code := math.RoundToEven(float64(v) / float64(q.step))
		code = max(-queryMost, min(queryMost, code))
		q.codes[i] = int16(code)
		d := float64(v) - code*float64(q.step)
		distance += d * d
	}
	q.off = float32(math.Sqrt(distance) * 1.000001)
}

// bounds returns between which values the cosine of a row is whose sketch has this product with the cue.
func (q *sketchedQuery) bounds(product int32, factor, off float32) (lower, upper float32) {
	about := float32(product) * factor * q.step
	apart := q.length*off + q.off*(1+off) + rounding
	return about - apart, about + apart
}

// dotCodesPlain is dotCodes without assembly.
func dotCodesPlain(codes *codes, query *[dimensions]int16) int32 {
	var sum int32
	for i, c := range codes {
		sum += int32(c) * int32(query[i])
	}
	return sum
}
