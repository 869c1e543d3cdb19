package wal

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"slices"
	"testing"
)

// found is what a start finds in a journal's directory, as recovery puts it together: simpler, for these directories know
// no damage but torn tails.
type found struct {
	at      Position
	records []Record // of all generations that were not released, by ascending index
}

// recoverDir repairs dir as a start would, and reads it.
func recoverDir(t testing.TB, dir string) found {
	t.Helper()
	f := found{at: fresh()}
	live := map[uint64]*Scanned{}
	gone := map[uint64]Tally{}
	counted := map[uint64]bool{}
	all := map[uint64][]Record{}
	numbers := generationsOn(t, dir)
	for _, n := range slices.Backward(numbers) {
		f.at.Generation = max(f.at.Generation, n+1)
		s, records := scanDir(t, dir, n)
		if at, torn := s.TornAt(); torn && len(live) == 0 {
			if err := CutTail(s.Path, at, ""); err != nil {
				t.Fatal(err)
			}
			s, records = scanDir(t, dir, n)
		}
		if len(s.Damages) != 0 {
			t.Fatalf("generation %d: %+v", n, s.Damages)
		}
		if s.Records == 0 {
			remove(t, dir, n)
			continue
		}
		live[n], all[n] = s, records
	}
	numbers = slices.Sorted(maps.Keys(live))
	for _, n := range numbers {
		s := live[n]
		f.at.Index, f.at.Batch = max(f.at.Index, s.LastIndex()+1), max(f.at.Batch, s.Last+1)
		f.at.Accepted, f.at.Released = s.Head.Accepted, s.Head.Released
		for g := range gone {
			counted[g] = true // by the head of this generation
		}
		for _, r := range all[n] {
			switch r.Kind {
			case KindWrite:
				f.at.Accepted++
			case KindReleased:
				rel, err := DecodeReleased(r.Payload)
				if err != nil {
					t.Fatal(err)
				}
				gone[rel.Generation] = rel.Tally
			}
		}
	}
	for g, tally := range gone {
		if !counted[g] {
			f.at.Released = f.at.Released.Plus(tally)
		}
		if live[g] != nil { // a crash came between the released frame and the deletion
			remove(t, dir, g)
			delete(live, g)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(live)) {
		f.at.Generations = append(f.at.Generations, live[n])
		f.records = append(f.records, all[n]...)
	}
	return f
}

func remove(t testing.TB, dir string, number uint64) {
	t.Helper()
	if err := RemoveGeneration(dir, number); err != nil {
		t.Fatal(err)
	}
}

// copyDir copies a directory while its journal writes to it, the newest generation first: what a kill could have left
// since the call began.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, n := range slices.Backward(generationsOn(t, from)) {
		b, err := os.ReadFile(SegmentPath(from, n))
		if errors.Is(err, os.ErrNotExist) {
			continue // being made, or being deleted
		}
		if err != nil {
			t.Fatal(err)
		}
		placeSegment(t, to, n, b)
	}
	return to
}

func TestReopenGoesOnWhereItWas(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir, GenerationBytes: minGenerationBytes})
	var want []Record
	for n := range uint64(60) {
		want = append(want, put(t, j, 1, n+1, 3000))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f := recoverDir(t, dir)
		j = openAt(t, Config{Dir: dir, GenerationBytes: minGenerationBytes}, f.at)
		if j.Durable() != f.at.Index-1 || len(j.Generations()) != len(f.at.Generations) {
			t.Errorf("durable %d of %d, %d generations", j.Durable(), f.at.Index-1, len(j.Generations()))
		}
		want = append(want, put(t, j, 1, uint64(len(want)+1), 3000))
		if r := want[len(want)-1]; r.Index <= f.at.Index-1 {
			t.Errorf("index %d was given before", r.Index)
		}
		var indexes []uint64
		for _, r := range want {
			indexes = append(indexes, r.Index)
		}
		checkRead(t, j, indexes, want)
		if accepted, _ := j.Totals(); accepted != uint64(len(want)) {
			t.Errorf("accepted %d, want %d", accepted, len(want))
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// fataler is a test, be it one of testing or of rapid.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkRead reads indexes and wants exactly those records.
func checkRead(t fataler, j *Journal, indexes []uint64, want []Record) {
	t.Helper()
	n := 0
	err := j.Read(indexes, func(r *Record) error {
		if n >= len(want) || !sameRecord(*r, want[n]) {
			t.Fatalf("read %d: %+v", n, r)
		}
		n++
		return nil
	})
	if err != nil || n != len(want) {
		t.Fatalf("read %d of %d records: %v", n, len(want), err)
	}
}

// What an earlier crash left under the next number is made anew.
func TestLeftoversUnderTheNextNumberAreMadeAnew(t *testing.T) {
	dir := t.TempDir()
	placeSegment(t, dir, 1, fill(1, 5000))
	j := open(t, Config{Dir: dir})
	put(t, j, 1, 1, 10)
	if s, records := scanDir(t, dir, 1); len(s.Damages) != 0 || len(records) != 2 {
		t.Errorf("%d records, %+v", len(records), s.Damages)
	}
}

// The last batch of an earlier run may be in the page cache alone; Open writes the same bytes over it and syncs them. That
// it changes none of them is what can be seen here.
func TestOpenLeavesTheBytesOfEarlierRuns(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir})
	for n := range uint64(10) {
		put(t, j, 1, n+1, 500)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	before := readSegmentFile(t, dir, 1)
	f := recoverDir(t, dir)
	from, to := f.at.Generations[0].lastBatch()
	if to != int64(len(before)) || to-from < 500 || to-from > 700 {
		t.Errorf("the last batch lies from %d to %d of %d", from, to, len(before))
	}
	openAt(t, Config{Dir: dir}, f.at)
	if !bytes.Equal(before, readSegmentFile(t, dir, 1)) {
		t.Error("the bytes changed")
	}
	if err := os.Remove(SegmentPath(dir, 1)); err != nil {
		t.Fatal(err)
	}
	f.at.Generation += 5
	if _, err := Open(Config{Dir: dir}, f.at); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a generation that has vanished since the scan: %v", err)
	}
}

// A generation without one whole record keeps its place in the table, and hides nothing of the others.
func TestGenerationWithoutAWholeRecord(t *testing.T) {
	dir := t.TempDir()
	seg := small()
	placeSegment(t, dir, 1, seg.data)
	placeSegment(t, dir, 2, fill(1, 300))
	third := &segment{seal: newSeal(testJournal, 3), index: 20, number: 9}
	third.batch(write(1, 1, nil), write(1, 2, nil))
	placeSegment(t, dir, 3, third.data)
	at := Position{Journal: testJournal, Generation: 4, Index: 22, Batch: 10}
	for n := range uint64(3) {
		s, _ := scanDir(t, dir, n+1)
		at.Generations = append(at.Generations, s)
	}
	j := openAt(t, Config{Dir: dir}, at)
	for _, index := range []uint64{1, 8, 20, 21} {
		if err := j.Read([]uint64{index}, func(*Record) error { return nil }); err != nil {
			t.Errorf("index %d: %v", index, err)
		}
	}
	for _, index := range []uint64{9, 15, 19, 22} {
		if err := j.Read([]uint64{index}, func(*Record) error { return nil }); !errors.Is(err, ErrNotFound) {
			t.Errorf("index %d: %v", index, err)
		}
	}
	if g := j.Generations()[1]; g.First != 0 || g.Records != 0 || g.Bytes != 300 {
		t.Errorf("%+v", g)
	}
	if err := j.Release(t.Context(), 2, Tally{}); err != nil {
		t.Error(err)
	}
	if got := generationsOn(t, dir); slices.Contains(got, 2) {
		t.Errorf("on disk are %v", got)
	}
}
