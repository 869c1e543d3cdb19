package embedded

import (
	"errors"
	"fmt"
	"slices"
)

// Damage names a memory whose bytes are not those that were written.
type Damage struct {
	File   string // the segment's vectors file
	Row    uint32 // number of the row in the store, from 0
	Space  string // "" where not even that can be read
	ID     string // "" where it cannot be read
	Reason string
}

// damages remembers what was found since the start. Guarded by Store.mu.
type damages struct {
	count int
	list  []Damage
}

// damageListed is how many damages are kept by name; all are counted and logged.
const damageListed = 1000

// Damages returns what was found damaged since the start, oldest first, at most 1,000 of it; Stats has the whole number.
func (s *Store) Damages() []Damage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.damages.list)
}

// markDamaged takes a row out of every later recall, and says so, once.
func (s *Store) markDamaged(seg *segment, place int, reason error) {
	d := s.describe(seg, place, reason)
	s.mu.Lock()
	fresh := s.countDamaged(seg, place, d)
	s.mu.Unlock()
	if fresh {
		s.log.Error("a stored memory is damaged and left out of recalls; check the disk, and store it again",
			"file", d.File, "row", d.Row, "space", d.Space, "id", short(d.ID), "reason", d.Reason)
	}
}

// markLost does the same for a run of rows whose file ends too early, with one line in the log.
func (s *Store) markLost(seg *segment, from, to int, reason error) {
	for place := from; place < to; place++ {
		s.countDamaged(seg, place, s.describe(seg, place, reason))
	}
	first := s.describe(seg, from, reason)
	s.log.Error("stored memories are lost and left out of recalls; check the disk, and store them again",
		"file", first.File, "rows", to-from, "first", first.Row, "space", first.Space, "id", short(first.ID), "reason", reason)
}

// countDamaged needs mu held for writing, or nobody else there.
func (s *Store) countDamaged(seg *segment, place int, d Damage) bool {
	if !seg.damaged.add(place) {
		return false
	}
	s.damages.count++
	if len(s.damages.list) < damageListed {
		s.damages.list = append(s.damages.list, d)
	}
	if r := &seg.rows[place]; r.flags == 0 && !seg.dead.has(place) {
		s.numbered[r.space].live--
		s.live--
	}
	return true
}

// describe needs mu free.
func (s *Store) describe(seg *segment, place int, reason error) Damage {
	d := Damage{
		File: segmentPath(s.dir, vectorsPrefix, seg.number), Row: s.layout.first(seg.number) + uint32(place), //nolint:gosec // a place in a segment of at most 2^20 rows
		Reason: reason.Error(),
	}
	r := &seg.rows[place]
	if r.flags != 0 {
		return d
	}
	s.mu.RLock()
	d.Space = s.numbered[r.space].name
	s.mu.RUnlock()
	var b body
	if err := s.readHead(seg, r, &b); err == nil {
		d.ID = string(b.id)
	}
	return d
}

// short is as much of an id as a log should hold.
func short(id string) string {
	const limit = 128
	return id[:min(len(id), limit)]
}

var (
	errVector = errors.New("the vector's checksum does not match")
	errShort  = errors.New("the file ends before it")
	errAlien  = errors.New("another memory's body stands in its place")
	errLost   = errors.New("nothing of it could be read when the index was made anew")
)

// readHead reads whose a row's body is.
func (s *Store) readHead(seg *segment, r *row, b *body) error {
	buf := make([]byte, min(int(r.length), longestHead))
	if _, err := seg.bodies.ReadAt(buf, int64(r.offset)); err != nil { //nolint:gosec // offsets in a file
		return fmt.Errorf("read %s at %d: %w", seg.bodies.Name(), r.offset, err)
	}
	return decodeHead(buf, b)
}
