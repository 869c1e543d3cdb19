package embedded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// Segments carry all that the index knows. Replaying reads rows out of them: those behind the last commit when the store
// opens after a crash (rollForward), or all of them when the index is lost (rebuild).

// rollForward takes over whole rows behind the last commit. Put may not have confirmed them, but they are what the journal
// gave it, and would come again. What makes this more than a convenience: where the newest of bbolt's two meta pages is
// damaged, it opens with the older one, which does not know the last commit, and that one was confirmed.
func (s *Store) rollForward(files segmentFiles) error {
	first, firstSpace := s.committed, len(s.numbered)
	var found body
	for s.layout.segmentOf(s.committed) < files.count {
		seg, err := s.segmentFor(s.committed)
		if err != nil {
			return err
		}
		_, err = s.readBody(seg, seg.bodyEnd, &found)
		if err != nil || found.row != s.committed || s.checkVector(seg, &found) != nil {
			break // where the whole rows end
		}
		if err := s.adopt(seg, seg.bodyEnd, &found, nil); err != nil {
			return err
		}
	}
	if s.committed == first {
		return nil
	}
	s.log.Info("took over whole rows behind the last commit", "rows", s.committed-first)
	if err := s.syncAll(s.segments[s.layout.segmentOf(first):]); err != nil {
		return err
	}
	return s.eachRun(first, func(first uint32, rows []row) error {
		names := s.namesFrom(firstSpace)
		err := s.index.commit(first, rows, firstSpace, names)
		firstSpace += len(names)
		return err
	})
}

// rebuild makes the index anew. Rows that cannot be read are passed over where a readable one follows, so that the numbers
// of the others stay what they were, and are reported; behind the last readable row nobody can tell damage from what a
// crash left unfinished.
func (s *Store) rebuild(files segmentFiles, cause error) error {
	if err := s.forget(); err != nil {
		return err
	}
	if files.count > 0 {
		s.log.Warn("the store's index is made anew from its segments", "dir", s.dir, "segments", files.count, "reason", cause)
	}
	err := s.disk.rename(s.indexPath(), filepath.Join(s.dir, indexDamaged))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set the damaged index aside: %w", err)
	}
	scan := salvage{store: s}
	for i := range files.count {
		if err := scan.segment(i); err != nil {
			return err
		}
	}
	if err := s.syncAll(s.segments); err != nil {
		return err
	}
	return s.newIndex()
}

// forget drops what was read out of an index that turned out to be damaged.
func (s *Store) forget() error {
	var err error
	if s.index != nil {
		if err := s.index.close(); err != nil {
			s.log.Warn("closing the damaged index", "error", err)
		}
	}
	err = s.dropSegments()
	s.index, s.table, s.committed, s.live = nil, table{}, 0, 0
	s.spaces, s.numbered, s.damages = map[string]*space{}, nil, damages{}
	return err
}

// readBody reads and verifies the body that begins at an offset; views of b are into the bytes returned.
func (s *Store) readBody(seg *segment, at int64, b *body) ([]byte, error) {
	const guess = 4 << 10 // most bodies have no more, and are read at once
	buf := make([]byte, guess)
	n, err := seg.bodies.ReadAt(buf, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s at %d: %w", seg.bodies.Name(), at, err)
	}
	buf = buf[:n]
	if err := decodeHead(buf, b); err != nil {
		return nil, err
	}
	if int(b.length) > n && n == guess {
		buf = make([]byte, b.length)
		if _, err := seg.bodies.ReadAt(buf, at); err != nil {
			return nil, fmt.Errorf("read %s at %d: %w", seg.bodies.Name(), at, err)
		}
	}
	return buf, decodeBody(buf, b)
}

// checkVector compares the vector of a body's row with the checksum in the body, without the mapping, which may reach
// beyond the file.
func (s *Store) checkVector(seg *segment, b *body) error {
	raw := make([]byte, vectorBytes)
	if _, err := seg.vectors.ReadAt(raw, s.layout.vectorAt(s.layout.placeOf(b.row))); err != nil {
		return fmt.Errorf("read %s: %w", seg.vectors.Name(), err)
	}
	if checksum(raw) != b.sum {
		return errVector
	}
	return nil
}

// adopt makes the next row of a body that stands behind the last one, at seg.bodyEnd or later. With damage it is admitted
// as damaged, so that a memory stored again takes its place.
func (s *Store) adopt(seg *segment, at int64, b *body, damage error) error {
	place, name := s.layout.placeOf(b.row), string(b.space)
	r := &seg.rows[place]
	*r = row{
		version: b.version, at: b.at, hash: hashOf(name, b.id), offset: uint64(at), length: b.length, //nolint:gosec // an offset in a file is not negative
		space: s.numberOf(name), sum: b.sum, scale: b.scale,
	}
	if older, ok := s.lookup(r.hash, name, b.id); ok {
		r.replaces = older + 1
		if s.rowAt(older).version > b.version {
			*r = row{offset: r.offset, length: r.length, flags: flagStale}
		}
	}
	older, replaced, err := s.admit(b.row, r)
	if err != nil {
		return err
	}
	if replaced {
		s.segments[s.layout.segmentOf(older)].dead.set(s.layout.placeOf(older))
	}
	if damage != nil {
		s.markDamaged(seg, place, damage)
	} else {
		seg.verified.add(place)
	}
	return nil
}

// eachRun calls yield with the rows from first on, one segment's at a time.
func (s *Store) eachRun(first uint32, yield func(first uint32, rows []row) error) error {
	for first < s.committed {
		seg, place := s.segments[s.layout.segmentOf(first)], s.layout.placeOf(first)
		if err := yield(first, seg.rows[place:seg.committed]); err != nil {
			return err
		}
		first += uint32(seg.committed - place) //nolint:gosec // at most a segment of rows
	}
	return nil
}
