package embedded

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// sketched is a configuration that looks at sketches however few rows there are.
func sketched() Config { return Config{SegmentRows: 16, Workers: 1, sketchFrom: 1} }

// known counts the rows whose sketches are in use.
func (s *Store) known() (n int) {
	for number := range s.committed {
		if s.segments[s.layout.segmentOf(number)].sketches.Load().has(s.layout.placeOf(number)) {
			n++
		}
	}
	return n
}

// plainly answers without sketches.
func (s *Store) plainly(t require, q store.Query) string {
	from := s.cfg.sketchFrom
	defer func() { s.cfg.sketchFrom = from }()
	s.cfg.sketchFrom = math.MaxInt
	return s.answered(t, q)
}

type require interface {
	Helper()
	Fatal(args ...any)
}

func (s *Store) answered(t require, q store.Query) string {
	t.Helper()
	answer, err := s.Recall(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return shown(answer)
}

// TestSketchesChangeNoAnswer fills stores with what is hard to tell apart or to measure (near duplicates, lengths at the ends
// of float32, vectors of zeros), replaces some of it, and asks with and without sketches: hits, scores and counts are equal.
func TestSketchesChangeNoAnswer(t *testing.T) {
	saved, looks := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		dir := filepath.Join(quickDir(t), "store")
		defer os.RemoveAll(dir)
		s, err := Open(dir, sketched())
		if err != nil {
			rt.Fatal(err)
		}
		base := numbers(rt, "base")
		index := 0
		for range rapid.IntRange(1, 4).Draw(rt, "batches") {
			var batch []wal.Record
			for range rapid.IntRange(1, 40).Draw(rt, "memories") {
				index++
				v := drawNear(rt, base)
				batch = append(batch, storetest.Record(wal.FormEpisode, uint64(index), garden, tulipID(rapid.IntRange(1, 80).Draw(rt, "id")), "", v))
			}
			for _, err := range s.Put(t.Context(), batch) {
				if err != nil {
					rt.Fatal(err)
				}
			}
			for range 3 {
				q := store.Query{
					Space: garden, Vector: drawNear(rt, base), K: rapid.IntRange(1, 20).Draw(rt, "k"),
					Threshold: rapid.SampledFrom([]float32{-1, 0, 0.01, 0.5, 0.99, 0.999999, 1}).Draw(rt, "threshold"),
				}
				want := s.plainly(rt, q)
				for range 2 { // the first one may have sketches to make
					if got := s.answered(rt, q); got != want {
						rt.Fatalf("with sketches: %s\nwithout: %s", got, want)
					}
				}
			}
			saved, looks = saved+s.known(), looks+int(s.committed)
			if rapid.Bool().Draw(rt, "reopened") {
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				if s, err = Open(dir, sketched()); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
	})
	if saved < looks/4 {
		t.Errorf("only %d of %d rows had a sketch: this tested little", saved, looks)
	}
}

// drawNear draws a vector like another: the same, nearly the same, of another length, or of its own.
func drawNear(rt *rapid.T, base []float32) []float32 {
	v := times(base, rapid.SampledFrom([]float32{1, 1, 1, -1, 0.5, 1e-9, 1e6, 1e-30, 1e25, 0}).Draw(rt, "length"))
	switch rapid.IntRange(0, 4).Draw(rt, "kind") {
	case 0:
	case 4:
		if scaleOf(appendFloats(nil, v)) > 0 {
			return missing(v)
		}
	case 1:
		at := rapid.IntRange(0, dimensions-1).Draw(rt, "number")
		v[at] += v[at] * 1e-6
	case 2:
		v[rapid.IntRange(0, dimensions-1).Draw(rt, "number")] += float32(rapid.Float64Range(-1, 1).Draw(rt, "by"))
	default:
		return numbers(rt, "own")
	}
	return v
}

// TestSketchesSpareVectors makes the vectors of far memories unreadable: a recall that looks at its sketches never asks for
// them, and nobody knows yet that they are damaged. When one is among the best, it is.
func TestSketchesSpareVectors(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	s := open(t, dir, sketched())
	mustPut(t, s, tulips(1, 40)...)
	q := store.Query{Space: garden, Vector: storetest.Vector(3), K: 1, Threshold: -1}
	want := s.answered(t, q)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, segmentPath(dir, vectorsPrefix, 1), func(b []byte) []byte {
		b[headerBytes+5*vectorBytes] ^= 1 // of tulip 22
		return b
	})
	s = open(t, dir, sketched())
	if got := s.answered(t, q); got != want || s.known() != 40 || len(s.Damages()) != 0 {
		t.Errorf("%s, %d sketches, damages %v; expected %s", got, s.known(), s.Damages(), want)
	}
	q.Vector = storetest.Vector(22)
	if got := s.answered(t, q); strings.Contains(got, tulipID(22)) || !strings.Contains(got, "of 39 ") {
		t.Errorf("%s", got)
	}
	if d := s.Damages(); len(d) != 1 || d[0].ID != tulipID(22) {
		t.Errorf("damages %v", d)
	}
	mustPut(t, s, tulip(22, 22))
	if got := s.answered(t, q); !strings.Contains(got, tulipID(22)) || !strings.Contains(got, "of 40 ") {
		t.Errorf("stored again: %s", got)
	}
}

// TestFewRowsHaveNoSketches keeps small stores as they are: their vectors are compared in no time.
func TestFewRowsHaveNoSketches(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	s := open(t, dir, small())
	mustPut(t, s, tulips(1, 40)...)
	wantTulips(t, s, 1, 40)
	if left, err := filepath.Glob(filepath.Join(dir, sketchesPrefix+"*")); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	if !sketchable {
		t.Skip("this machine compares sketches no faster than vectors")
	}
	big := forPasses(t, 2)
	for range 2 {
		big.answered(t, store.Query{Space: garden, Vector: storetest.Vector(1), K: 3, Threshold: -1})
	}
	if n := big.known(); n != 2*manyRows {
		t.Errorf("%d of %d rows have a sketch", n, 2*manyRows)
	}
}

// TestPlainSketches looks at sketches without assembly, as a machine could that has none.
func TestPlainSketches(t *testing.T) {
	defer func(was bool) { sketchable = was }(sketchable)
	s := open(t, quickDir(t), sketched())
	mustPut(t, s, tulips(1, 60)...)
	q := store.Query{Space: garden, Vector: storetest.Vector(7), K: 5, Threshold: 0}
	want := s.answered(t, q)
	sketchable = false
	if got := s.answered(t, q); got != want || s.known() != 60 {
		t.Errorf("%s, expected %s", got, want)
	}
	if Config.withDefaults(Config{}).sketchFrom != math.MaxInt {
		t.Error("sketches are used where they gain nothing")
	}
}
