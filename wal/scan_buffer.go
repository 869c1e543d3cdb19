package wal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// chunkBytes is how much of a segment is in memory at once, unless a frame is longer: what was just read is checked while
	// the processor's cache holds it. A start that reads whole segments first takes half as long again.
	chunkBytes = 256 << 10
	// keptBytes is how much memory for what is kept of records is taken at once.
	keptBytes = 16 << 10
	// longestHeader is more than any entry takes in front of its payload.
	longestHeader = binary.MaxVarintLen64 + minFrame + MaxSpace + MaxID
)

// ScanBuffer is memory for scans, one after the other. The zero value is ready. The records of a scan are valid until the next
// one with the same buffer; its Scanned is the caller's.
type ScanBuffer struct {
	chunk   []byte
	kept    []byte // ids and payloads of records other than writes; what is full belongs to them alone
	records []Record
	size    int // of chunk at first; 0 is chunkBytes
}

// Scan is ScanGeneration that returns the whole records rather than visit them. Writes come without id and payload, which have
// been checked.
func (b *ScanBuffer) Scan(journalDir string, journal [16]byte, number uint64) (*Scanned, []Record, error) {
	path := SegmentPath(journalDir, number)
	s, err := b.scanInChunks(path, journal, number)
	if err != nil {
		return nil, nil, fmt.Errorf("read generation %d: %w", number, err)
	}
	if s == nil {
		b.reset()
		s, err = scanFile(path, journal, number, maxSegmentBytes, b.keep)
	}
	return s, b.records, err
}

func (b *ScanBuffer) scanInChunks(path string, journal [16]byte, number uint64) (*Scanned, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // no frames and no error: scanFile says what a missing segment is
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read from
	return b.scanWhole(f, path, journal, number)
}

func (b *ScanBuffer) reset() {
	spoil(b.kept)
	b.records, b.kept = b.records[:0], b.kept[:0]
}

// keep copies a record out of what a scan overwrites next.
func (b *ScanBuffer) keep(r *Record) error {
	k := *r
	if k.ID, k.Payload = nil, nil; r.Kind != KindWrite {
		k.ID, k.Payload = b.copied(r.ID), b.copied(r.Payload)
	}
	b.records = append(b.records, k)
	return nil
}

// copied copies p to where earlier records' bytes stay.
func (b *ScanBuffer) copied(p []byte) []byte {
	if len(p) == 0 {
		return []byte{}
	}
	if cap(b.kept)-len(b.kept) < len(p) {
		b.kept = make([]byte, 0, max(len(p), keptBytes))
	}
	from := len(b.kept)
	b.kept = append(b.kept, p...)
	return b.kept[from:len(b.kept):len(b.kept)]
}

// scanWhole scans a segment a chunk at a time, as long as frame follows upon frame. Where anything else stands it returns nil:
// what that is, only who has the whole segment before him can tell.
func (b *ScanBuffer) scanWhole(f io.Reader, path string, journal [16]byte, number uint64) (*Scanned, error) {
	sc := &scanner{
		out: &Scanned{Number: number, Path: path, Offsets: make([]uint32, 0, len(b.records))}, seal: newSeal(journal, number), visit: b.keep,
	}
	b.reset()
	if size := cmp.Or(b.size, chunkBytes); len(b.chunk) != size { // the first, or one that had to hold a long frame
		b.chunk = make([]byte, size)
	}
	for len(sc.out.Damages) == 0 {
		at, h, err := sc.entry()
		if err == nil && h.size <= len(sc.data)-at {
			if err := sc.take(sc.pos, at, h); err != nil {
				return nil, err
			}
			continue
		}
		left := len(sc.data) - sc.pos
		if (err != nil && left >= longestHeader) || sc.from+len(sc.data) > maxSegmentBytes {
			break
		}
		more, err := b.advance(f, sc)
		switch {
		case err != nil:
			return nil, err
		case more:
		case sc.pos == len(sc.data) && sc.seen != 0:
			sc.out.Size = sc.out.End
			return sc.out, nil
		default:
			return nil, nil //nolint:nilnil // a short frame is at the end: scanFile says what it is
		}
	}
	return nil, nil //nolint:nilnil // damage, or longer than can be: scanFile says which
}

// advance brings what comes next in the file behind what sc has not taken yet; false where nothing comes.
func (b *ScanBuffer) advance(f io.Reader, sc *scanner) (bool, error) {
	left := len(sc.data) - sc.pos
	if left == len(b.chunk) {
		b.chunk = append(b.chunk, make([]byte, len(b.chunk))...)
	}
	copy(b.chunk, sc.data[sc.pos:])
	n, err := io.ReadAtLeast(f, b.chunk[left:], 1)
	sc.from, sc.pos, sc.data = sc.from+sc.pos, 0, b.chunk[:left+n]
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}
