package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
)

// someBatches is a segment of that many bytes and a few: one flipped bit in it is tried at every place.
func someBatches(bytes int) *segment {
	seg := newSegment(1)
	for n := uint64(1); len(seg.data) < bytes; n += 3 {
		seg.batch(write(1, n, fill(n, 200)), write(2, n+1, fill(n+1, 700)), write(3, n+2, nil))
	}
	return seg
}

// No bit that rots may change what is read, and none may go unnoticed: each record is visited as it was written or named
// as damaged, with session and sequence where its header survived. 8 KiB of journal, 64 at night.
func TestEveryBitFlipped(t *testing.T) {
	size := 8 << 10
	if os.Getenv("NIGHTLY") == "1" {
		size = 64 << 10
	}
	seg, flips := someBatches(size), 0
	defer func() { t.Logf("%d bits flipped in %d bytes, each noticed", flips, len(seg.data)) }()
	data := bytes.Clone(seg.data)
	for frame := range seg.records {
		from, to := seg.boundaries[frame], seg.boundaries[frame+1]
		body := to - len(seg.records[frame].Payload)
		_, varint := binary.Uvarint(data[from:])
		for bit := from * 8; bit < to*8; bit++ {
			data[bit/8] ^= 1 << (bit % 8)
			checkFlip(t, seg, data, flip{frame: frame, inLength: bit/8 < from+varint, inPayload: bit/8 >= body})
			data[bit/8] ^= 1 << (bit % 8)
			flips++
			if t.Failed() {
				t.Fatalf("bit %d of byte %d, in frame %d", bit%8, bit/8, frame)
			}
		}
	}
}

type flip struct {
	frame               int
	inLength, inPayload bool
}

func checkFlip(t *testing.T, seg *segment, data []byte, f flip) {
	t.Helper()
	s, seen := visited(t, seg, data)
	s.Follow(1)
	index, last := uint64(f.frame+1), f.frame == len(seg.records)-1
	want := len(seg.records) - 1
	if f.inLength {
		want++
	}
	if s.Records != want || seen[index] != f.inLength || len(s.Damages) != 1 {
		t.Errorf("visited %d records, want %d; damages %+v", s.Records, want, s.Damages)
		return
	}
	d := s.Damages[0]
	r := seg.records[f.frame]
	switch {
	case f.inLength:
		if d.First != 0 {
			t.Errorf("names index %d, and nothing is lost", d.First)
		}
	case f.inPayload:
		if d.First != index || d.Last != index || d.Session != r.Session || d.Sequence != r.Sequence || d.Kind != r.Kind {
			t.Errorf("names %+v, want index %d of %v", d, index, r.Session)
		}
	case !last:
		if d.First != index || d.Last != index {
			t.Errorf("names index %d to %d, want %d", d.First, d.Last, index)
		}
	}
}

// A client's payload may hold anything, a frame too. When the scanner looks for the next frame behind damage, that one must
// not be taken for a record.
func TestFrameHiddenInAPayload(t *testing.T) {
	own := newSegment(1)
	own.batch(write(1, 1, []byte("older")))
	stale := own.data[own.boundaries[1]:own.boundaries[2]]
	for _, c := range []struct {
		name   string
		hidden []byte
	}{
		{"of another journal", (&segment{seal: newSeal([16]byte{9}, 1), index: 9, number: 9}).batch(write(9, 1, nil)).data},
		{"of another generation", (&segment{seal: newSeal(testJournal, 7), index: 9, number: 9}).batch(write(9, 1, nil)).data},
		{"without a seal", (&segment{index: 9, number: 9}).batch(write(9, 1, nil)).data},
		{"of this generation, with an older index", stale},
	} {
		seg := newSegment(1)
		seg.batch(write(1, 1, []byte("older")))
		payload := append(append(fill(1, 100), c.hidden...), fill(2, 100)...)
		seg.batch(write(1, 2, payload)).batch(write(1, 3, []byte("younger")))
		for name, at := range map[string]int{"length": 0, "header": 2 + offIndex} {
			data := bytes.Clone(seg.data)
			data[seg.boundaries[2]+at] ^= 0x40 // the scanner has to look for a frame from here on
			if _, seen := visited(t, seg, data); !seen[4] || seen[3] != (name == "length") {
				t.Errorf("%s, %s damaged: visited %v", c.name, name, seen)
			}
		}
	}
}

// Headers that only somebody who knows the journal's identity can forge: they must not make a scan allocate, overflow or
// visit what contradicts the order.
func TestForgedHeaders(t *testing.T) {
	forge := func(index, batch uint64) []byte {
		f := &segment{seal: newSeal(testJournal, 1), index: index, number: batch}
		return f.batch(write(9, 1, fill(1, 10))).data
	}
	seg := small()
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"an index far away", forge(seg.index+maxRecords, seg.number)},
		{"the largest index", forge(maxIndex, seg.number)},
		{"an index before", forge(2, seg.number)},
		{"a batch before", forge(seg.index, 1)},
	} {
		data := append(bytes.Clone(seg.data), c.frame...)
		if s, _ := visited(t, seg, data); s.Records != len(seg.records) || len(s.Damages) != 1 {
			t.Errorf("%s: %d records, %+v", c.name, s.Records, s.Damages)
		}
	}
	s := scan(t, forge(maxIndex, 1), nil)
	if s.Base != maxIndex || s.LastIndex() != maxIndex {
		t.Errorf("a first index of %d: %+v", uint64(maxIndex), s)
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	for _, damaged := range []bool{false, true} { // the newer frame stands where it should, or is found behind damage
		seg := small()
		at := seg.boundaries[3]
		frame := seg.data[at+2:] // behind a length of two bytes
		frame[offVersion] = FormatVersion + 1
		reseal(frame, seg.seal)
		if damaged {
			seg.data[at] = 0
		}
		n := 0
		_, err := scanSegment("the-segment", seg.data, testJournal, 1, func(*Record) error { n++; return nil })
		if !errors.Is(err, ErrNewerFormat) || !strings.Contains(err.Error(), "the-segment at offset") || n != 3 {
			t.Errorf("damaged %v: %v after %d records", damaged, err, n)
		}
	}
}
