package embedded

import (
	"math"
	"strings"
	"testing"

	"github.com/viterin/vek/vek32"
	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// numbers draws a vector of one kind or another.
func numbers(rt *rapid.T, name string) []float32 {
	v := storetest.Vector(rapid.Uint64().Draw(rt, name))
	scale := rapid.SampledFrom([]float32{1, 0, -1, 1e-12, 1e9}).Draw(rt, name+" scale")
	for i := range v {
		v[i] *= scale
	}
	if at := rapid.IntRange(0, 2*store.Dimensions).Draw(rt, name+" outlier"); at < len(v) {
		v[at] = -1e8
	}
	return v
}

// TestDotAgrees compares the assembly and the plain loop with sums in float64. How far a float32 sum may be off depends on
// what it adds up, not on what comes out.
func TestDotAgrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := numbers(rt, "a"), numbers(rt, "b")
		var exact, size float64
		for i := range a {
			p := float64(a[i]) * float64(b[i])
			exact += p
			size += math.Abs(p)
		}
		for name, fn := range map[string]func(a, b []float32) float32{"vek": vek32.Dot, "plain": dotPlain, "dot": dot} {
			if got := float64(fn(a, b)); math.Abs(got-exact) > 1e-5*size+1e-37 {
				rt.Errorf("%s: %v, expected %v", name, got, exact)
			}
		}
	})
}

func TestDotPlainTakesAll(t *testing.T) {
	zero, one := make([]float32, store.Dimensions), make([]float32, store.Dimensions)
	for i := range one {
		one[i] = float32(i + 1)
	}
	for i := range zero {
		zero[i] = 2
		if got := dotPlain(zero, one); got != 2*float32(i+1) {
			t.Fatalf("number %d counts as %v, expected %v", i, got, 2*(i+1))
		}
		zero[i] = 0
	}
}

func TestSIMD(t *testing.T) {
	want := "plain ("
	if vek32.Info().Acceleration {
		want = "avx2"
	}
	if got := SIMD(); !strings.HasPrefix(got, want) {
		t.Errorf("SIMD is %q, expected %q", got, want)
	}
}

// TestPlainStore recalls without assembly, as on other processors.
func TestPlainStore(t *testing.T) {
	defer func(was bool) { accelerated = was }(accelerated)
	accelerated = false
	if got := SIMD(); !strings.HasPrefix(got, "plain (") {
		t.Errorf("SIMD is %q", got)
	}
	s := open(t, t.TempDir(), small())
	mustPut(t, s, tulips(1, 20)...)
	wantTulips(t, s, 1, 20)
}

// TestAnyLength recalls vectors whose lengths go to the ends of what a float32 can hold, from all sides.
func TestAnyLength(t *testing.T) {
	s := open(t, t.TempDir(), small())
	direction := storetest.Vector(5)
	lengths := map[string]float32{"tiny": 1e-38, "small": 1e-25, "one": 1, "large": 1e20, "huge": 1e38}
	index := uint64(0)
	for id, length := range lengths {
		index++
		mustPut(t, s, storetest.Record(wal.FormEpisode, index, garden, id, "", times(direction, length)))
	}
	for seed := uint64(0); seed < 20; seed++ {
		cue := storetest.Vector(100 + seed)
		for i := range cue {
			cue[i] += direction[i] * float32(seed) / 10
		}
		want := cosineExact(unitOf(cue), direction)
		for _, factor := range []float32{1, 1e-30, 1e30} {
			answer, err := s.Recall(t.Context(), store.Query{Space: garden, Vector: times(cue, factor), K: 100, Threshold: -1})
			if err != nil || len(answer.Hits) != len(lengths) {
				t.Fatalf("%d hits, %v", len(answer.Hits), err)
			}
			for _, h := range answer.Hits {
				if math.Abs(float64(h.Score-want)) > 1e-5 {
					t.Errorf("%q scores %v with a cue of %v, expected %v", h.ID, h.Score, factor, want)
				}
			}
		}
	}
	answer, err := s.Recall(t.Context(), store.Query{Space: garden, Vector: make([]float32, store.Dimensions), K: 3})
	if err != nil || len(answer.Hits) != 3 || answer.Hits[0].Score != 0 {
		t.Errorf("a cue of zeros: %v, %v", answer, err)
	}
}

func times(v []float32, factor float32) []float32 {
	out := make([]float32, len(v))
	for i := range v {
		out[i] = v[i] * factor
	}
	return out
}

func TestCosineExact(t *testing.T) {
	if got := cosineExact(storetest.Vector(1), make([]float32, store.Dimensions)); got != 0 {
		t.Errorf("a vector of zeros scores %v", got)
	}
}
