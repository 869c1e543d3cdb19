package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

// salvage reads rows out of segments for which there is no index.
type salvage struct {
	store *Store
	// doubtful are rows whose head can be read and whose body or vector cannot: damaged if a whole row follows, and
	// otherwise what a crash left unfinished.
	doubtful []doubt
}

type doubt struct {
	body   body
	at     int64
	reason error
}

// segment reads the rows of the next segment.
func (v *salvage) segment(number int) error {
	s := v.store
	next := s.layout.first(number)
	limit := next + s.layout.rows
	seg, err := s.segmentFor(next)
	if err != nil {
		return err
	}
	at := int64(headerBytes)
	for next < limit {
		var b body
		_, err := s.readBody(seg, at, &b)
		if (err != nil && !errors.Is(err, errStored)) || b.row < next || b.row >= limit {
			var found bool
			if at, found = seek(seg, at+bodyAlign, next, limit); !found {
				return nil
			}
			continue
		}
		if err == nil {
			err = s.checkVector(seg, &b)
		}
		if err := v.take(seg, at, &b, err); err != nil {
			return err
		}
		next, at = b.row+1, at+int64(b.length)
	}
	return nil
}

// take admits a whole row, and before it everything that is missing up to it; it puts a doubtful one off.
func (v *salvage) take(seg *segment, at int64, b *body, reason error) error {
	if reason != nil {
		b.space, b.id, b.stored = bytes.Clone(b.space), bytes.Clone(b.id), nil
		v.doubtful = append(v.doubtful, doubt{body: *b, at: at, reason: reason})
		return nil
	}
	if err := v.fillUpTo(b.row); err != nil {
		return err
	}
	return v.store.adopt(seg, at, b, nil)
}

// fillUpTo admits damaged rows until the next one is number, so that each row keeps its place.
func (v *salvage) fillUpTo(number uint32) error {
	s := v.store
	for s.committed < number {
		seg := s.segments[s.layout.segmentOf(s.committed)]
		if len(v.doubtful) > 0 && v.doubtful[0].body.row == s.committed {
			d := v.doubtful[0]
			v.doubtful = v.doubtful[1:]
			if err := s.adopt(seg, d.at, &d.body, d.reason); err != nil {
				return err
			}
			continue
		}
		r := &seg.rows[s.layout.placeOf(s.committed)]
		*r = row{flags: flagUnreadable, offset: uint64(seg.bodyEnd)} //nolint:gosec // an offset in a file is not negative
		if _, _, err := s.admit(s.committed, r); err != nil {
			return err
		}
	}
	return nil
}

// seek looks for the next head of a body of one of the rows that may follow.
func seek(seg *segment, at int64, next, limit uint32) (int64, bool) {
	info, err := seg.bodies.Stat()
	if err != nil {
		return 0, false
	}
	const window = 1 << 20
	buf := make([]byte, window+longestHead)
	for ; at < info.Size(); at += window {
		n, err := seg.bodies.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			continue // the disk cannot read this part; there may be more behind it
		}
		if i := seekIn(buf[:n], min(n, window), next, limit); i >= 0 {
			return at + int64(i), true
		}
	}
	return 0, false
}

func seekIn(b []byte, end int, next, limit uint32) int {
	var d body
	for i := 0; i+bodyHead <= len(b) && i < end; i += bodyAlign {
		if binary.LittleEndian.Uint32(b[i:]) != bodyMagic {
			continue
		}
		if decodeHead(b[i:], &d) == nil && d.row >= next && d.row < limit {
			return i
		}
	}
	return -1
}

// namesFrom returns the names of the spaces from a number on.
func (s *Store) namesFrom(first int) []string {
	var names []string
	for _, sp := range s.numbered[first:] {
		names = append(names, sp.name)
	}
	return slices.Clip(names)
}
