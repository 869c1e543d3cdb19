package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// readAhead bounds the bytes of one read call; gapLimit is how many bytes that nobody asked for are read rather than skipped.
const (
	readAhead = 1 << 20
	gapLimit  = 16 << 10
)

// Read calls visit for the record at each of the indexes, which must ascend. Each is read with pread, side by side with
// everything else, and verified; what visit gets may be kept. The error is visit's, or wraps ErrNotFound (released since,
// or not durable yet), or is a *DamageError; the records before it were visited. Whatever else it may be, such as a want
// of descriptors, says nothing of the record.
func (j *Journal) Read(indexes []uint64, visit func(*Record) error) error {
	for len(indexes) > 0 {
		g := j.find(indexes[0])
		if g == nil {
			return fmt.Errorf("%w: %d", ErrNotFound, indexes[0])
		}
		n, err := j.readGeneration(g, indexes, visit)
		if err != nil {
			return err
		}
		indexes = indexes[n:]
	}
	return nil
}

// readGeneration reads the first of the indexes, and all behind it that g holds; it returns how many. A segment that is
// deleted meanwhile stays readable until its descriptor is closed.
func (j *Journal) readGeneration(g *generation, indexes []uint64, visit func(*Record) error) (n int, err error) {
	f, err := os.Open(g.path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%w: %d: generation %d was released", ErrNotFound, indexes[0], g.number)
	}
	if err != nil {
		return 0, fmt.Errorf("read generation %d: %w", g.number, err)
	}
	defer f.Close() //nolint:errcheck // it was only read from
	for n < len(indexes) {
		s, err := j.plan(g, indexes[n:])
		if err != nil {
			return n, err
		}
		if len(s.offsets) == 0 {
			break
		}
		k, err := readStretch(f, g, s, indexes[n:], visit)
		if n += k; err != nil {
			return n, err
		}
	}
	return n, nil
}

// stretch is a run of frames that one read call brings.
type stretch struct {
	offsets []int64 // of the frames, in the file
	end     int64   // in the file
}

// plan finds where the first of the indexes stand in g, as many as one call should read. The end of a frame is where the
// next begins, or the end of the committed bytes.
func (j *Journal) plan(g *generation, indexes []uint64) (stretch, error) {
	j.gens.RLock()
	defer j.gens.RUnlock()
	var s stretch
	for _, index := range indexes {
		if !g.holds(index) {
			break
		}
		off := int64(g.offsets[index-g.base])
		if off == 0 {
			if len(s.offsets) > 0 {
				break
			}
			return s, &DamageError{File: g.path, First: index, Last: index, Reason: "damaged when the journal was opened"}
		}
		end := g.endOf(index)
		if len(s.offsets) > 0 && (off-s.end > gapLimit || end-s.offsets[0] > readAhead) {
			break
		}
		s.offsets, s.end = append(s.offsets, off), end
	}
	return s, nil
}

// endOf is where the frame of index ends at the latest. The journal's table lock is held.
func (g *generation) endOf(index uint64) int64 {
	for i := index - g.base + 1; i < uint64(len(g.offsets)); i++ {
		if g.offsets[i] != 0 {
			return int64(g.offsets[i])
		}
	}
	return g.bytes
}

// readStretch reads the frames of s and visits their records; it returns how many it visited. Where the disk cannot read
// all of them, it reads the first alone: one bad sector must not hide its neighbours.
func readStretch(f io.ReaderAt, g *generation, s stretch, indexes []uint64, visit func(*Record) error) (int, error) {
	start := s.offsets[0]
	buf := make([]byte, s.end-start)
	n, err := f.ReadAt(buf, start)
	if err != nil && !errors.Is(err, io.EOF) {
		if len(s.offsets) > 1 {
			return readStretch(f, g, stretch{offsets: s.offsets[:1], end: s.offsets[1]}, indexes, visit)
		}
		return 0, &DamageError{File: g.path, Offset: start, First: indexes[0], Last: indexes[0], Reason: err.Error()}
	}
	buf = buf[:n]
	var space string
	for i, off := range s.offsets {
		r := Record{Space: space}
		if err := readFrame(buf[min(off-start, int64(n)):], g, indexes[i], off, &r); err != nil {
			return i, err
		}
		space = r.Space
		if err := visit(&r); err != nil {
			return i, err
		}
	}
	return len(s.offsets), nil
}

// readFrame reads the frame of index, which begins at offset off of the segment, from the start of b.
func readFrame(b []byte, g *generation, index uint64, off int64, r *Record) error {
	h, err := parseHeader(b, g.seal, r)
	named := err == nil && r.Index == index
	switch {
	case named:
		err = checkPayload(b, h, r)
	case err == nil:
		err = fmt.Errorf("frame of index %d", r.Index)
	}
	if err == nil {
		return nil
	}
	d := &DamageError{File: g.path, Offset: off, First: index, Last: index, Reason: err.Error()}
	if named {
		d.Length, d.Session, d.Sequence, d.Space, d.Kind = int64(h.size), r.Session, r.Sequence, r.Space, r.Kind
	}
	return d
}
