package wal

import (
	"bytes"
	"io"
	"os"
	"reflect"
	"testing"
)

// A scan in chunks finds what one with the whole segment before it finds, wherever a chunk ends, whichever byte is another,
// and wherever the segment ends.
func TestScanInChunks(t *testing.T) {
	seg := newSegment(1)
	for n, size := range []int{0, 40, 700, 3} {
		seg.batch(write(7, uint64(2*n+1), fill(uint64(n), size)),
			Record{Kind: KindSessionExpired, Time: 1, Session: SessionID{3}, Payload: fill(uint64(n), size/2)})
	}
	dir := t.TempDir()
	check := func(what string, at int, data []byte) {
		t.Helper()
		placeSegment(t, dir, 1, data)
		plain, want := scanDir(t, dir, 1)
		for _, size := range []int{1, 7, 100, 256, len(data), chunkBytes} {
			b := ScanBuffer{size: max(size, 1)}
			got, records, err := b.Scan(dir, testJournal, 1)
			if err != nil || !reflect.DeepEqual(got, plain) {
				t.Fatalf("%s at %d, chunks of %d: %+v, %v, want %+v", what, at, size, got, err, plain)
			}
			same(t, records, want)
		}
	}
	check("whole", 0, seg.data)
	for at := range seg.data {
		turned := bytes.Clone(seg.data)
		turned[at] ^= 0x10
		check("another byte", at, turned)
		check("the end", at, seg.data[:at])
	}
}

// same fails where a scan has kept something else than stands in want, or a write's id or payload.
func same(t *testing.T, records, want []Record) {
	t.Helper()
	if len(records) != len(want) {
		t.Fatalf("%d records, want %d", len(records), len(want))
	}
	for i := range records {
		w := want[i]
		if w.Kind == KindWrite {
			w.ID, w.Payload = nil, nil
		}
		if !reflect.DeepEqual(records[i], w) {
			t.Fatalf("record %+v, want %+v", records[i], w)
		}
	}
}

// A segment that is whole is read once, and no more of it is in memory than a chunk.
func TestChunksOfAWholeSegment(t *testing.T) {
	seg := newSegment(1)
	for n := range uint64(500) {
		seg.batch(write(7, n+1, fill(n, 3000)))
	}
	b := ScanBuffer{size: 16 << 10}
	s, err := b.scanWhole(bytes.NewReader(seg.data), "segment", testJournal, 1)
	if err != nil || s == nil || s.Records != 501 || s.Size != int64(len(seg.data)) {
		t.Fatalf("%+v, %v", s, err)
	}
	if len(b.chunk) != 16<<10 {
		t.Errorf("a chunk of %d bytes", len(b.chunk))
	}
	if cap(b.kept) != keptBytes {
		t.Errorf("%d bytes are kept of 500 writes and a head", cap(b.kept))
	}
}

// A long frame makes the chunk longer, for its own generation only; what is kept of many records is not moved.
func TestChunksOfLongFrames(t *testing.T) {
	long := newSegment(1)
	for n := range uint64(40) {
		long.batch(Record{Kind: KindSessionExpired, Time: 1, Session: SessionID{3}, Payload: fill(n, 3000)})
	}
	long.batch(write(7, 1, fill(1, 70_000)))
	dir := t.TempDir()
	b := ScanBuffer{size: 1000}
	for _, seg := range []*segment{long, small(), long} {
		placeSegment(t, dir, 1, seg.data)
		_, want := scanDir(t, dir, 1)
		_, records, err := b.Scan(dir, testJournal, 1)
		if err != nil {
			t.Fatal(err)
		}
		same(t, records, want)
		if long := len(b.chunk) > 70_000; long != (len(seg.data) > 70_000) || len(b.chunk) > 150_000 {
			t.Errorf("a chunk of %d bytes for a segment of %d", len(b.chunk), len(seg.data))
		}
		if cap(b.kept) != keptBytes {
			t.Errorf("blocks of %d bytes", cap(b.kept))
		}
	}
}

// Damage is no reason to bring much more of a segment into memory before the scan that has all of it.
func TestChunksEndAtDamage(t *testing.T) {
	seg := newSegment(1)
	for n := range uint64(500) {
		seg.batch(write(7, n+1, fill(n, 3000)))
	}
	seg.data[seg.boundaries[3]+20] ^= 1
	dir := t.TempDir()
	placeSegment(t, dir, 1, seg.data)
	b := ScanBuffer{size: 4 << 10}
	if s, err := b.scanWhole(bytes.NewReader(seg.data), "segment", testJournal, 1); s != nil || err != nil || len(b.chunk) > 8<<10 {
		t.Errorf("%+v, %v, a chunk of %d", s, err, len(b.chunk))
	}
	if s, records, err := b.Scan(dir, testJournal, 1); err != nil || len(s.Damages) != 1 || len(records) != 500 {
		t.Errorf("%+v, %d records, %v", s, len(records), err)
	}
}

func TestChunksOfAnUnreadableSegment(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(SegmentPath(dir, 2), 0o700); err != nil {
		t.Fatal(err)
	}
	var b ScanBuffer
	if s, _, err := b.Scan(dir, testJournal, 2); s != nil || err == nil {
		t.Errorf("a directory in the segment's place: %+v, %v", s, err)
	}
	sc := &scanner{}
	b.chunk = make([]byte, 8)
	if more, err := b.advance(io.MultiReader(), sc); more || err != nil {
		t.Errorf("%v, %v at the end", more, err)
	}
}
