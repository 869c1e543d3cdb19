package embedded

import (
	"math"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
)

// TestSketchBoundsHold draws vectors of all kinds, and expects the score that a recall would give them between the bounds.
func TestSketchBoundsHold(t *testing.T) {
	widest := float32(0)
	rapid.Check(t, func(rt *rapid.T) {
		vector, cue := numbers(rt, "vector"), numbers(rt, "cue")
		if rapid.Bool().Draw(rt, "near") {
			cue = times(vector, 1)
			cue[rapid.IntRange(0, dimensions-1).Draw(rt, "at")] += 1e-3
		}
		r := row{scale: scaleOf(appendFloats(nil, vector))}
		if r.scale <= 0 {
			return // such a row has no sketch
		}
		var c codes
		factor, off := quantise(&c, vector, r.scale)
		if rapid.Bool().Draw(rt, "worst") {
			cue = missing(vector)
		}
		q := search{unit: unitOf(cue)}
		sketchQuery(&q.sketched, q.unit)
		for name, product := range map[string]int32{"plain": dotCodesPlain(&c, &q.sketched.codes), "fast": dotCodes(&c, &q.sketched.codes)} {
			lower, upper := q.sketched.bounds(product, factor, off)
			for how, score := range map[string]float32{"fast": dot(q.unit, vector) * r.scale, "plain": dotPlain(q.unit, vector) * r.scale, "exact": cosineExact(q.unit, vector)} {
				if score < lower || score > upper {
					rt.Errorf("%s codes: the %s score %v is not within %v and %v", name, how, score, lower, upper)
				}
			}
			widest = max(widest, upper-lower)
		}
	})
	if widest > 0.2 {
		t.Errorf("bounds are up to %v apart: they say nothing", widest)
	}
}

// missing is what a vector's sketch leaves out of it. As a cue it is off by all of that.
func missing(vector []float32) []float32 {
	var c codes
	scale := scaleOf(appendFloats(nil, vector))
	factor, _ := quantise(&c, vector, scale)
	left := make([]float32, dimensions)
	for i := range left {
		left[i] = float32(float64(vector[i]) - float64(c[i])*float64(factor)/float64(scale))
	}
	return left
}

// TestSketchIsOfItsRow changes each byte of a sketch, and each number of the row that it is of.
func TestSketchIsOfItsRow(t *testing.T) {
	vector := storetest.Vector(1)
	raw := appendFloats(nil, vector)
	of := row{version: 3, at: 4, sum: checksum(raw), scale: scaleOf(raw)}
	b := appendSketch(nil, vector, &of)
	if len(b) != sketchBytes || !isSketchOf(b, &of) {
		t.Fatalf("%d bytes, its own row's: %v", len(b), isSketchOf(b, &of))
	}
	for i := range b {
		b[i] ^= 0x41
		if isSketchOf(b, &of) {
			t.Errorf("byte %d may be anything", i)
		}
		b[i] ^= 0x41
	}
	for _, other := range []row{{version: 5, at: of.at, sum: of.sum}, {version: of.version, at: 5, sum: of.sum}, {version: of.version, at: of.at, sum: of.sum + 1}} {
		if isSketchOf(b, &other) {
			t.Errorf("it is taken for that of %+v", other)
		}
	}
	if isSketchOf(make([]byte, sketchBytes), &row{}) {
		t.Error("a hole is taken for a sketch")
	}
}

// TestSketchBoundsAreNarrow shows what a usual vector's sketch is worth.
func TestSketchBoundsAreNarrow(t *testing.T) {
	for seed := range uint64(20) {
		vector := storetest.Vector(seed)
		var c codes
		_, off := quantise(&c, vector, scaleOf(appendFloats(nil, vector)))
		if off > 0.02 {
			t.Errorf("a sketch is %v from its vector", off)
		}
	}
}

// TestDotCodesAgrees compares the assembly with the plain loop, codes and cues at their ends among them.
func TestDotCodesAgrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		code := rapid.OneOf(rapid.Int8(), rapid.SampledFrom([]int8{-128, -127, 0, 127}))
		number := rapid.OneOf(rapid.Int16Range(-queryMost, queryMost), rapid.SampledFrom([]int16{-queryMost, queryMost}))
		var c codes
		var q [dimensions]int16
		if rapid.Bool().Draw(rt, "all alike") { // the largest sums there can be
			most, sign := code.Draw(rt, "code"), number.Draw(rt, "number")
			for i := range c {
				c[i], q[i] = max(most, -codeMost), sign
			}
		} else {
			copy(c[:], rapid.SliceOfN(code, dimensions, dimensions).Draw(rt, "codes"))
			copy(q[:], rapid.SliceOfN(number, dimensions, dimensions).Draw(rt, "cue"))
		}
		if got, want := dotCodes(&c, &q), dotCodesPlain(&c, &q); got != want {
			rt.Errorf("%d, expected %d", got, want)
		}
	})
}

func TestDotCodesTakesAll(t *testing.T) {
	var c codes
	var q [dimensions]int16
	for i := range q {
		q[i] = int16(i + 1)
	}
	for i := range c {
		c[i] = -3
		for name, got := range map[string]int32{"fast": dotCodes(&c, &q), "plain": dotCodesPlain(&c, &q)} {
			if want := -3 * int32(i+1); got != want {
				t.Fatalf("%s: number %d counts as %d, expected %d", name, i, got, want)
			}
		}
		c[i] = 0
	}
}

// TestDotCodesStaysWithin puts codes and cue at the very end of a page behind which nothing may be read.
func TestDotCodesStaysWithin(t *testing.T) {
	page := unix.Getpagesize()
	atEnd := func(size int) unsafe.Pointer {
		m, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Munmap(m) })
		if err := unix.Mprotect(m[page:], unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
		return unsafe.Pointer(&m[page-size])
	}
	c, q := (*codes)(atEnd(dimensions)), (*[dimensions]int16)(atEnd(2*dimensions))
	c[dimensions-1], q[dimensions-1] = 5, 7
	if got := dotCodes(c, q); got != 35 {
		t.Errorf("%d, expected 35", got)
	}
}

func FuzzDotCodes(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c codes
		var q [dimensions]int16
		for i := range b {
			c[i%dimensions] += int8(b[i])
			q[(i*7)%dimensions] = int16(math.MaxInt16&(int(b[i])*int(b[len(b)-1-i]))) % queryMost
		}
		if got, want := dotCodes(&c, &q), dotCodesPlain(&c, &q); got != want {
			t.Errorf("%d, expected %d", got, want)
		}
	})
}

// BenchmarkSketch makes sketches of vectors that are in the processor's cache.
func BenchmarkSketch(b *testing.B) {
	vector := storetest.Vector(1)
	r := row{scale: scaleOf(appendFloats(nil, vector))}
	var buf []byte
	for b.Loop() {
		buf = appendSketch(buf[:0], vector, &r)
	}
}

func BenchmarkDotCodes(b *testing.B) {
	var q sketchedQuery
	sketchQuery(&q, unitOf(storetest.Vector(1)))
	var c codes
	quantise(&c, storetest.Vector(2), 1)
	for b.Loop() {
		dotCodes(&c, &q.codes)
	}
}
