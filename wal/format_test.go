package wal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFormatRoundTrip(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadFormat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	want := NewFormat()
	if want.Version != FormatVersion || want.Journal == NewFormat().Journal {
		t.Errorf("%+v", want)
	}
	for range 2 { // the second goes over the first
		if err := WriteFormat(dir, want); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFormat(dir); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "FORMAT")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if err := WriteFormat(filepath.Join(dir, "none"), want); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "taken", "FORMAT", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFormat(filepath.Join(dir, "taken"), want); err == nil {
		t.Error("a directory in the file's place was overwritten")
	}
}

func TestFormatThatCannotBeRead(t *testing.T) {
	const id = "0102030405060708090a0b0c0d0e0f10"
	for _, c := range []struct {
		text string
		is   error
		says string
	}{
		{"", ErrDamaged, `expected "engram-sidecar format N journal UUID"`},
		{"\x00\x00\x00\x00", ErrDamaged, "expected"},
		{"engram-sidecar format one journal " + id, ErrDamaged, "expected"},
		{"engram-sidecar format 0 journal " + id, ErrDamaged, "expected"},
		{"engram-sidecar format -1 journal " + id, ErrDamaged, "expected"},
		{"engram-sidecar format 1", ErrDamaged, "expected"},
		{"engram-sidecar format 1 journal 1234", ErrDamaged, "expected a UUID"},
		{"engram-sidecar format 2 journal " + id, ErrNewerFormat, "says format 2, this build reads up to 1: run the version that wrote it"},
		{"engram-sidecar format 3 with things nobody knows yet", ErrNewerFormat, "says format 3"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "FORMAT"), []byte(c.text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFormat(dir); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%q: %v, want it to say %q", c.text, err, c.says)
		}
	}
}

func TestReadIdentityFromTheFirstHead(t *testing.T) {
	seg := newSegment(7)
	if id, ok := ReadIdentity(seg.data); !ok || id != testJournal {
		t.Errorf("%x, %v", id, ok)
	}
	long := &segment{seal: newSeal(testJournal, 9), index: 1, number: 1}
	head := Head{Version: 1, Journal: testJournal, Generation: 9, Live: make([]Span, 5000)}
	if id, ok := ReadIdentity(long.batch(Record{Kind: KindHead, Payload: head.append(nil)}).data); !ok || id != testJournal {
		t.Errorf("a head of many spans: %x, %v", id, ok)
	}
	for cut := range len(seg.data) {
		if _, ok := ReadIdentity(seg.data[:cut]); ok {
			t.Errorf("cut to %d of %d bytes, it still tells an identity", cut, len(seg.data))
		}
	}
	for bit := range len(seg.data) * 8 {
		seg.data[bit/8] ^= 1 << (bit % 8)
		if id, ok := ReadIdentity(seg.data); ok && id != testJournal {
			t.Errorf("with bit %d flipped it tells %x", bit, id)
		}
		seg.data[bit/8] ^= 1 << (bit % 8)
	}
	other := &segment{seal: newSeal(testJournal, 1), index: 1, number: 1}
	if _, ok := ReadIdentity(other.batch(write(1, 1, fill(1, 200))).data); ok {
		t.Error("a write tells an identity")
	}
}

func TestSyncDirOfNothing(t *testing.T) {
	if err := SyncDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
