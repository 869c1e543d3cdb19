package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
)

// TestDamagedSketches does to the files of sketches whatever a crash, a disk or a hand could do while no process has them
// open. Every answer is what it was, nothing counts as damaged, and the sketches are made again.
func TestDamagedSketches(t *testing.T) {
	const rows = 40
	master := filepath.Join(quickDir(t), "master")
	s := open(t, master, sketched())
	mustPut(t, s, tulips(1, rows)...)
	q := store.Query{Space: garden, Vector: storetest.Vector(7), K: 5, Threshold: -1}
	want := s.answered(t, q)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damages := map[string]func(b []byte) []byte{
		"empty":             func([]byte) []byte { return nil },
		"cut short":         func(b []byte) []byte { return b[:headerBytes+6*sketchBytes+100] },
		"longer":            func(b []byte) []byte { return append(b, 1, 2, 3) },
		"zeros":             func(b []byte) []byte { clear(b); return b },
		"a later version":   func(b []byte) []byte { b[8] = 2; return b },
		"of another number": func(b []byte) []byte { b[12] = 9; return b },
		"exchanged rows": func(b []byte) []byte {
			one, two := b[headerBytes:headerBytes+sketchBytes], b[headerBytes+6*sketchBytes:headerBytes+7*sketchBytes]
			for i := range one {
				one[i], two[i] = two[i], one[i]
			}
			return b
		},
		"a sector of zeros": func(b []byte) []byte { clear(b[512*3 : 512*4]); return b },
	}
	for at := 0; at < sketchBytes; at += 7 {
		damages[fmt.Sprintf("byte %d flipped", at)] = func(b []byte) []byte { b[headerBytes+6*sketchBytes+at] ^= 0x41; return b }
	}
	for name, do := range damages {
		dir := filepath.Join(quickDir(t), "store")
		copyDir(t, master, dir)
		change(t, segmentPath(dir, sketchesPrefix, 0), do)
		checkSketches(t, dir, name, q, want, rows)
	}
	for _, lost := range []string{sketchesPrefix + "000001.seg", indexName, formatName} {
		dir := filepath.Join(quickDir(t), "store")
		copyDir(t, master, dir)
		if err := os.Remove(filepath.Join(dir, lost)); err != nil {
			t.Fatal(err)
		}
		checkSketches(t, dir, "without "+lost, q, want, rows)
	}
}

func checkSketches(t *testing.T, dir, name string, q store.Query, want string, rows int) {
	t.Helper()
	s, err := Open(dir, sketched())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for range 2 {
		if got := s.answered(t, q); got != want {
			t.Errorf("%s: %s\nexpected %s", name, got, want)
		}
	}
	if s.known() != rows || len(s.Damages()) != 0 {
		t.Errorf("%s: %d sketches, damages %v", name, s.known(), s.Damages())
	}
	if err := errors.Join(s.Close(), os.RemoveAll(dir)); err != nil {
		t.Error(err)
	}
}

// TestSketchOfAnotherRow leaves sketches of rows that a crash has taken back: others stand in their places now.
func TestSketchOfAnotherRow(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	s := open(t, dir, sketched())
	mustPut(t, s, tulips(1, 8)...)
	before := filepath.Join(quickDir(t), "before")
	copyDir(t, dir, before)
	mustPut(t, s, tulips(9, 8)...)
	q := store.Query{Space: garden, Vector: storetest.Vector(12), K: 3, Threshold: -1}
	s.answered(t, q)
	copyFrom := segmentPath(dir, sketchesPrefix, 0)
	b, err := os.ReadFile(copyFrom)
	if err == nil {
		err = os.WriteFile(segmentPath(before, sketchesPrefix, 0), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, before, sketched())
	for k := 16; k > 8; k-- {
		mustPut(t, r, tulip(k, k))
	}
	if got, want := r.answered(t, q), r.plainly(t, q); got != want || r.known() != 16 {
		t.Errorf("%s, expected %s; %d sketches", got, want, r.known())
	}
}

// TestSketchesVanish cuts the file of an open store, so that reading where it is mapped faults, or finds zeros up to the end
// of a page: the answers stay.
func TestSketchesVanish(t *testing.T) {
	for _, left := range []int64{int64(2 * os.Getpagesize()), headerBytes + 9*sketchBytes, 0} {
		dir := filepath.Join(quickDir(t), "store")
		cfg := sketched()
		cfg.SegmentRows = 64
		s := open(t, dir, cfg)
		mustPut(t, s, tulips(1, 50)...)
		q := store.Query{Space: garden, Vector: storetest.Vector(7), K: 5, Threshold: -1}
		want := s.answered(t, q)
		if err := os.Truncate(segmentPath(dir, sketchesPrefix, 0), left); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got := s.answered(t, q); got != want || len(s.Damages()) != 0 {
				t.Errorf("%d bytes are left: %s, damages %v; expected %s", left, got, s.Damages(), want)
			}
		}
		if s.known() != 0 {
			t.Errorf("%d bytes are left: %d sketches are in use still", left, s.known())
		}
		wantTulips(t, s, 1, 50)
	}
}

// TestVectorsVanishBehindSketches cuts the vectors instead: what the recall needs to look at is damaged.
func TestVectorsVanishBehindSketches(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	cfg := sketched()
	cfg.SegmentRows = 64
	s := open(t, dir, cfg)
	mustPut(t, s, tulips(1, 50)...)
	q := store.Query{Space: garden, Vector: storetest.Vector(40), K: 2, Threshold: -1}
	s.answered(t, q)
	if err := os.Truncate(segmentPath(dir, vectorsPrefix, 0), s.layout.vectorAt(10)); err != nil {
		t.Fatal(err)
	}
	got := s.answered(t, q)
	if d := s.Damages(); strings.Contains(got, tulipID(40)) || len(d) == 0 || len(d) > 50-10 {
		t.Errorf("%s, damages %v", got, d)
	}
	mustPut(t, s, tulip(40, 40))
	if got := s.answered(t, q); !strings.Contains(got, tulipID(40)) {
		t.Errorf("stored again: %s", got)
	}
}

// TestNoRoomForSketches has the disk refuse them: recalls answer, puts go on, one line says it; a minute later they are made.
func TestNoRoomForSketches(t *testing.T) {
	for _, number := range []unix.Errno{unix.ENOSPC, unix.EIO} {
		for fails := 1; fails <= 4; fails++ { // open, write of the header, cut, write of sketches
			now := time.Now()
			d := newFailing(-1, number)
			cfg := sketched()
			cfg.SegmentRows, cfg.disk, cfg.now = 64, d.disk, func() time.Time { return now }
			s := open(t, quickDir(t), cfg)
			mustPut(t, s, tulips(1, 20)...)
			q := store.Query{Space: garden, Vector: storetest.Vector(7), K: 5, Threshold: -1}
			want := s.plainly(t, q)
			d.left = fails
			for range 2 {
				if got := s.answered(t, q); got != want || s.known() != 0 {
					t.Errorf("%v at call %d: %s, %d sketches; expected %s", number, fails, got, s.known(), want)
				}
			}
			if d.call == "" {
				t.Errorf("call %d was not there to fail", fails)
			}
			mustPut(t, s, tulips(21, 1)...)
			now = now.Add(sketchPause + 1)
			s.answered(t, q)
			if got := s.answered(t, store.Query{Space: garden, Vector: q.Vector, K: 5, Threshold: -1}); s.known() != 21 {
				t.Errorf("%v at call %d: a minute later there are %d sketches: %s", number, fails, s.known(), got)
			}
		}
	}
}

// TestSketchesAreNobodysTruth: a copy has none, a compacted store has none, those of a segment that is gone are removed, and
// their room is told.
func TestSketchesAreNobodysTruth(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	s := open(t, dir, sketched())
	mustPut(t, s, tulips(1, 40)...)
	mustPut(t, s, tulip(1, 100))
	without := s.Stats().Bytes
	wantTulipsBut := s.answered(t, store.Query{Space: garden, Vector: storetest.Vector(7), K: 50, Threshold: -1})
	if grown := s.Stats().Bytes - without; grown < 40*sketchBytes {
		t.Errorf("sketches of 40 memories take %d bytes", grown)
	}
	copied := filepath.Join(quickDir(t), "copy")
	if _, err := Copy(t.Context(), dir, copied); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	orphan := segmentPath(dir, sketchesPrefix, 7)
	if err := os.WriteFile(orphan, []byte("of nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s = open(t, dir, sketched()); s.Close() != nil {
		t.Fatal("it does not close")
	}
	if _, err := os.Stat(orphan); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("sketches of a segment that is not there stay: %v", err)
	}
	if _, err := Compact(t.Context(), dir, sketched(), CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{copied, dir} {
		if left, err := filepath.Glob(filepath.Join(d, sketchesPrefix+"*")); err != nil || len(left) != 0 {
			t.Errorf("%v, %v", left, err)
		}
		again := open(t, d, sketched())
		for range 2 {
			got := again.answered(t, store.Query{Space: garden, Vector: storetest.Vector(7), K: 50, Threshold: -1})
			if got != wantTulipsBut {
				t.Errorf("%s\nexpected %s", got, wantTulipsBut)
			}
		}
	}
}
