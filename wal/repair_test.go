package wal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/smalldisk"
)

func TestCutTailKeepsACopy(t *testing.T) {
	dir := t.TempDir()
	seg := small()
	path := placeSegment(t, dir, 1, append(bytes.Clone(seg.data), "torn"...))
	aside := filepath.Join(dir, "aside")
	s, _ := scanDir(t, dir, 1)
	at, torn := s.TornAt()
	if !torn {
		t.Fatal("not torn")
	}
	if err := CutTail(path, at, aside); err != nil {
		t.Fatal(err)
	}
	if got := readSegmentFile(t, dir, 1); !bytes.Equal(got, seg.data) {
		t.Errorf("%d bytes are left, want %d", len(got), len(seg.data))
	}
	if b, err := os.ReadFile(aside); err != nil || string(b) != "torn" {
		t.Errorf("%q, %v", b, err)
	}
	if fi, err := os.Stat(aside); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if err := CutTail(path, at, ""); err != nil {
		t.Errorf("a second time, with nothing to cut: %v", err)
	}
}

// Whatever keeps the copy from being made leaves the segment as it was.
func TestCutTailCutsNothingWithoutItsCopy(t *testing.T) {
	dir := t.TempDir()
	path := placeSegment(t, dir, 1, []byte("0123456789"))
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, []byte("evidence"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, segment, aside string
		end                  int64
		is                   error
	}{
		{"no segment", path + "x", "", 0, os.ErrNotExist},
		{"no directory for the copy", path, filepath.Join(dir, "none", "aside"), 4, os.ErrNotExist},
		{"a copy of another time", path, taken, 4, os.ErrExist},
		{"an end behind the end", path, "", 11, nil},
		{"a negative end", path, "", -1, nil},
	} {
		if err := CutTail(c.segment, c.end, c.aside); err == nil || (c.is != nil && !errors.Is(err, c.is)) || !strings.Contains(err.Error(), "cut the torn tail") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got := string(readSegmentFile(t, dir, 1)); got != "0123456789" {
		t.Errorf("%q", got)
	}
	if b, err := os.ReadFile(taken); err != nil || string(b) != "evidence" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestCutTailOnAFullDisk(t *testing.T) {
	dir := smalldisk.New(t, 1<<20, 100)
	seg := small()
	path := placeSegment(t, dir, 1, append(bytes.Clone(seg.data), fill(1, 20_000)...))
	smalldisk.Fill(t, filepath.Join(dir, "ballast"))
	aside := filepath.Join(dir, "aside")
	err := CutTail(path, int64(len(seg.data)), aside)
	if !isNoRoom(err) {
		t.Fatal(err)
	}
	if _, err := os.Stat(aside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a copy is left: %v", err)
	}
	if err := CutTail(path, int64(len(seg.data)), ""); err != nil {
		t.Errorf("without a copy: %v", err)
	}
	if got := readSegmentFile(t, dir, 1); !bytes.Equal(got, seg.data) {
		t.Errorf("%d bytes are left, want %d", len(got), len(seg.data))
	}
}
