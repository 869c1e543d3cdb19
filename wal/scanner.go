package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	reasonMissing = "records missing"
	reasonZeros   = "zeros to the end of the file"
)

// maxRecords bounds how many records a segment can hold, and with it what a damaged index can make a scan allocate.
const maxRecords = maxSegmentBytes / minFrame

// errOutOfOrder is a frame whose header is good and which cannot stand here: left over from before, or copied.
var errOutOfOrder = errors.New("frame out of order")

// magic is how a frame begins.
var magic = binary.LittleEndian.AppendUint32(nil, frameMagic)

func scanSegment(path string, data []byte, journal [16]byte, number uint64, visit func(*Record) error) (*Scanned, error) {
	sc := &scanner{
		out:  &Scanned{Number: number, Path: path, Size: int64(len(data))},
		data: data, seal: newSeal(journal, number), visit: visit,
	}
	for sc.pos < len(data) {
		if err := sc.step(); err != nil {
			return nil, err
		}
	}
	return sc.out, nil
}

// scanner walks a segment: entry after entry while they are whole, else to the next frame that proves itself. Each byte
// is looked at a bounded number of times, whatever the segment holds.
type scanner struct {
	out   *Scanned
	data  []byte
	from  int // where data begins in the segment
	seal  seal
	pos   int    // in data
	seen  uint64 // index of the last frame whose header was good
	rec   Record
	visit func(*Record) error
}

// step takes the entry at pos, or the next frame behind it.
func (sc *scanner) step() error {
	at, h, err := sc.entry()
	if err == nil {
		return sc.take(sc.pos, at, h)
	}
	from, reason := sc.pos, err.Error()  // be it a newer version: then search finds that again
	sc.pos, h, err = sc.search(from + 1) // a frame has its length in front of it, be it damaged
	if err != nil {
		return fmt.Errorf("%w: %s at offset %d: %w", ErrNewerFormat, sc.out.Path, sc.pos, err)
	}
	if sc.pos == len(sc.data) && len(bytes.Trim(sc.data[from:], "\x00")) == 0 {
		// What a file system leaves of a length it had promised: no frame, and no empty entry either.
		reason = reasonZeros
	}
	sc.damage(DamageError{Offset: int64(from), Length: int64(sc.pos - from), Reason: reason})
	if sc.pos == len(sc.data) {
		return nil
	}
	return sc.take(sc.pos, sc.pos, h)
}

// entry reads the length at pos and the header behind it, which begins at the offset it returns.
func (sc *scanner) entry() (int, header, error) {
	size, n := binary.Uvarint(sc.data[sc.pos:])
	if n <= 0 || size < minFrame || size > MaxFrame {
		return sc.pos, header{}, errors.New("no length of a frame")
	}
	h, err := sc.header(sc.pos + n)
	if err == nil && uint64(h.size) != size {
		err = errors.New("length before the frame differs from the frame's own")
	}
	return sc.pos + n, h, err
}

// search finds the next frame at or behind offset from whose header is good, or the end. Its error is errNewerVersion.
func (sc *scanner) search(from int) (int, header, error) {
	for p := from; ; p++ {
		i := bytes.Index(sc.data[p:], magic)
		if i < 0 {
			return len(sc.data), header{}, nil
		}
		p += i
		h, err := sc.header(p)
		if err == nil || errors.Is(err, errNewerVersion) {
			return p, h, err
		}
	}
}

// header reads the header at offset at into sc.rec. Indexes ascend and batches do not descend: what breaks that was not
// written here after what stands before it.
func (sc *scanner) header(at int) (header, error) {
	r := Record{Space: sc.rec.Space}
	h, err := parseHeader(sc.data[at:], sc.seal, &r)
	if err != nil {
		return h, err
	}
	if r.Index <= sc.seen || r.Batch < sc.out.Last || (sc.seen != 0 && r.Index-sc.out.first >= maxRecords) {
		return h, errOutOfOrder
	}
	sc.rec = r
	return h, nil
}

// take takes the frame at offset at, whose header is good and whose entry begins at offset entry.
func (sc *scanner) take(entry, at int, h header) error {
	sc.nameMissing(entry)
	out, r := sc.out, &sc.rec
	if out.first == 0 {
		out.first = r.Index
	}
	sc.seen, out.Last, out.lastFirst, out.lastAt = r.Index, r.Batch, h.first, int64(sc.from+at)
	sc.pos = min(at+h.size, len(sc.data))
	if err := checkPayload(sc.data[at:], h, r); err != nil {
		sc.damage(DamageError{
			Offset: int64(entry), Length: int64(sc.pos - entry), First: r.Index, Last: r.Index,
			Session: r.Session, Sequence: r.Sequence, Space: r.Space, Kind: r.Kind, Reason: err.Error(),
		})
		return nil
	}
	if out.Base == 0 {
		out.Base = r.Index
		out.Head = headOf(r)
	}
	for out.LastIndex()+1 < r.Index {
		out.Offsets = append(out.Offsets, 0)
	}
	out.Offsets = append(out.Offsets, uint32(sc.from+at))
	out.Records++
	out.End = int64(sc.from + sc.pos)
	if sc.visit == nil {
		return nil
	}
	return sc.visit(r)
}

func headOf(r *Record) *Head {
	if r.Kind != KindHead {
		return nil
	}
	h, err := DecodeHead(r.Payload)
	if err != nil {
		return nil
	}
	return h
}

// nameMissing gives the indexes that are missing before sc.rec to the damage in front of it, or notes them as one of
// their own. What should stand before the first frame of all only the generation before can tell: see Scanned.Follow.
func (sc *scanner) nameMissing(entry int) {
	if sc.seen == 0 || sc.rec.Index == sc.seen+1 {
		return
	}
	n := len(sc.out.Damages)
	if n == 0 || sc.out.Damages[n-1].First != 0 || sc.out.Damages[n-1].Offset+sc.out.Damages[n-1].Length != int64(entry) {
		sc.damage(DamageError{Offset: int64(entry), Reason: reasonMissing})
		n++
	}
	sc.out.Damages[n-1].First, sc.out.Damages[n-1].Last = sc.seen+1, sc.rec.Index-1
}

func (sc *scanner) damage(d DamageError) {
	d.File = sc.out.Path
	sc.out.Damages = append(sc.out.Damages, ScannedDamage{d})
}
