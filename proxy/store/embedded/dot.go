package embedded

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"

	"github.com/viterin/vek/vek32"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

var (
	accelerated = vek32.Info().Acceleration
	// littleEndian machines have numbers in memory as they lie on disk, so that a mapped file is a slice of them.
	littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
)

// SIMD says what compares vectors on this machine, for an operator who wonders about recall times: "avx2", or "plain" with
// the processor's architecture, which takes about three times as long.
func SIMD() string {
	if accelerated {
		return "avx2"
	}
	return fmt.Sprintf("plain (%s)", runtime.GOARCH)
}

// dot returns the inner product of two vectors of store.Dimensions numbers. Always the same machine instructions in the
// same order: the same two vectors have the same score, in every recall.
func dot(a, b []float32) float32 {
	if accelerated {
		return vek32.Dot(a, b)
	}
	return dotPlain(a, b)
}

// dotPlain is dot without assembly. Eight sums that do not wait for one another are what a processor can overlap.
func dotPlain(a, b []float32) float32 {
	a, b = a[:store.Dimensions], b[:store.Dimensions]
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	for i := 0; i+8 <= len(a) && i+8 <= len(b); i += 8 {
		x, y := a[i:i+8:i+8], b[i:i+8:i+8]
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
		s4 += x[4] * y[4]
		s5 += x[5] * y[5]
		s6 += x[6] * y[6]
		s7 += x[7] * y[7]
	}
	return ((s0 + s4) + (s1 + s5)) + ((s2 + s6) + (s3 + s7))
}

// cosineExact is for vectors whose length float32 sums cannot be trusted with; unit has length 1.
func cosineExact(unit, vector []float32) float32 {
	var product, squares float64
	for i, v := range vector {
		product += float64(v) * float64(unit[i])
		squares += float64(v) * float64(v)
	}
	if squares == 0 {
		return 0
	}
	return float32(product / math.Sqrt(squares))
}

// unitOf returns a vector of length 1 in the same direction, or all zeros for a vector of zeros.
func unitOf(vector []float32) []float32 {
	var squares float64
	for _, v := range vector {
		squares += float64(v) * float64(v)
	}
	unit := make([]float32, len(vector))
	if squares == 0 {
		return unit
	}
	length := math.Sqrt(squares)
	for i, v := range vector {
		unit[i] = float32(float64(v) / length)
	}
	return unit
}
