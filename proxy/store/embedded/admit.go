package embedded

import (
	"bytes"
	"errors"
	"fmt"
)

// segmentFor returns the segment of a row; where it is the next one it is opened, and made if there is none yet. Writer only.
func (s *Store) segmentFor(number uint32) (*segment, error) {
	i := s.layout.segmentOf(number)
	if i < len(s.segments) {
		return s.segments[i], nil
	}
	if i > len(s.segments) {
		return nil, fmt.Errorf("%w: row %d comes before segment %d", errIndex, number, len(s.segments)+1)
	}
	seg, err := openSegment(s.disk, s.dir, i, s.layout)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.segments = append(s.segments, seg)
	s.mu.Unlock()
	return seg, nil
}

// admit makes the next row, which stands in its segment already, part of the store. Where it replaces another, that one is
// returned, to be marked dead together with others. Needs mu held for writing, or nobody else there.
func (s *Store) admit(number uint32, r *row) (older uint32, replaced bool, err error) {
	seg, place := s.segments[s.layout.segmentOf(number)], s.layout.placeOf(number)
	if number != s.committed {
		return 0, false, fmt.Errorf("%w: row %d comes behind row %d", errIndex, number, s.committed)
	}
	if r.flags == 0 {
		older, replaced, err = s.enlist(number, r)
	} else if r.flags&flagUnreadable != 0 {
		s.countDamaged(seg, place, s.describe(seg, place, errLost))
	}
	if err != nil {
		return 0, false, err
	}
	s.committed = number + 1
	seg.committed, seg.bodyEnd = place+1, int64(r.end()) //nolint:gosec // an offset in a file
	return older, replaced, nil
}

// enlist enters a row under its id and into its space.
func (s *Store) enlist(number uint32, r *row) (older uint32, replaced bool, err error) {
	if int(r.space) >= len(s.numbered) || r.replaces > number {
		return 0, false, fmt.Errorf("%w: row %d of space %d replaces row %d", errIndex, number, r.space, int64(r.replaces)-1)
	}
	sp := s.numbered[r.space]
	if r.replaces == 0 {
		s.table.insert(r.hash, number, s.hashAt)
	} else {
		older, replaced = r.replaces-1, true
		if !s.table.replace(r.hash, older, number) {
			return 0, false, fmt.Errorf("%w: row %d replaces row %d, which is not the newest of its id", errIndex, number, older)
		}
		sp.dead++
		if !s.segments[s.layout.segmentOf(older)].damaged.has(s.layout.placeOf(older)) {
			sp.live--
			s.live--
		}
	}
	sp.rows = append(sp.rows, number)
	sp.live++
	s.live++
	return older, replaced, nil
}

// isDead says that a row was replaced.
func (s *Store) isDead(number uint32) bool {
	return s.segments[s.layout.segmentOf(number)].dead.has(s.layout.placeOf(number))
}

// addSpace gives a space the next number.
func (s *Store) addSpace(name string) uint32 {
	number := uint32(len(s.numbered)) //nolint:gosec // each space has a row, and rows have 32 bits
	sp := &space{name: name, number: number}
	s.numbered = append(s.numbered, sp)
	s.spaces[name] = sp
	return number
}

// numberOf returns the number of a space, and gives it one where it is new.
func (s *Store) numberOf(name string) uint32 {
	if sp, ok := s.spaces[name]; ok {
		return sp.number
	}
	return s.addSpace(name)
}

// lookup returns the newest row of an id. Writer only.
func (s *Store) lookup(hash uint64, space string, id []byte) (uint32, bool) {
	return s.table.find(hash, s.hashAt, func(number uint32) bool { return s.belongsTo(number, space, id) })
}

// belongsTo says whether a row is one of this id. A row whose head cannot be read is taken for it: the hash says so, and
// the row is damaged in any case.
func (s *Store) belongsTo(number uint32, space string, id []byte) bool {
	seg, place := s.segments[s.layout.segmentOf(number)], s.layout.placeOf(number)
	var b body
	if err := s.readHead(seg, &seg.rows[place], &b); err != nil {
		s.markDamaged(seg, place, err)
		return true
	}
	return string(b.space) == space && bytes.Equal(b.id, id)
}

// intact says whether all of a row is what was written. A store that confirms a memory it has already confirms these bytes.
func (s *Store) intact(number uint32) bool {
	seg, place := s.segments[s.layout.segmentOf(number)], s.layout.placeOf(number)
	if seg.damaged.has(place) {
		return false
	}
	if _, _, err := s.readRow(seg, place); err != nil {
		s.markDamaged(seg, place, err)
		return false
	}
	return true
}

// readRow reads a row's body, and returns it with its vector as it lies on disk; both are verified.
func (s *Store) readRow(seg *segment, place int) (b body, vector []byte, err error) {
	r := &seg.rows[place]
	buf := make([]byte, r.length)
	if _, err := seg.bodies.ReadAt(buf, int64(r.offset)); err != nil { //nolint:gosec // an offset in a file
		return b, nil, fmt.Errorf("read %s at %d: %w", seg.bodies.Name(), r.offset, err)
	}
	if err := decodeBody(buf, &b); err != nil {
		return b, nil, err
	}
	if s.layout.placeOf(b.row) != place || b.version != r.version || b.sum != r.sum {
		return b, nil, errAlien
	}
	vector = make([]byte, vectorBytes)
	if _, err := seg.vectors.ReadAt(vector, s.layout.vectorAt(place)); err != nil {
		return b, nil, fmt.Errorf("read %s: %w", seg.vectors.Name(), err)
	}
	if checksum(vector) != b.sum {
		return b, nil, errVector
	}
	return b, vector, nil
}

// errNoRoom says that all row numbers are given.
var errNoRoom = errors.New("the store has given all its 4,294,967,295 rows; move to a larger store")
