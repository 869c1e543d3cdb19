package ledger

import (
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// session is the account of one session.
type session struct {
	Session
	home  uint64 // the newest generation that tells of it; 0: only the ledger's file does
	told  uint64 // the newest generation with a record of the session's own space and lane: opened, closed or carried
	since uint64 // the oldest generation that may tell of it

	// strayed: a write went to another space than the session's. A frame tells the space of the write, so that from then
	// on frames alone do not tell the session's.
	strayed bool
	pending uint64 // writes
	dead    uint64 // writes in living generations
	dirty   bool   // differs from what the file says
}

// nowhere is the since of a session that no generation tells of.
const nowhere = ^uint64(0)

func (s *session) settled(f wal.Fate) {
	if s == nil || s.pending == 0 {
		return
	}
	s.pending--
	if f == wal.Dead {
		s.dead++
	}
}

// needs says whether generation number alone tells something of s.
func (s *session) needs(number uint64) bool {
	return s.home == number || (s.strayed && s.told == number)
}

// touch notes that generation g tells of the session of r. It returns nil where that expired before: a record that was
// carried at the same moment does not raise it.
func (x *index) touch(g *generation, r *wal.Record) *session {
	if t := x.expired[r.Session]; t != nil {
		t.through = max(t.through, g.number)
		return nil
	}
	s := x.sessions[r.Session]
	if s == nil {
		s = &session{Session: Session{ID: r.Session, Space: r.Space, Lane: r.Lane}, since: nowhere}
		x.sessions[r.Session] = s
		x.pin(s, 1)
	}
	if s.home != g.number || s.Space != r.Space || r.Kind != wal.KindWrite {
		x.move(s, func() {
			if !s.strayed && s.Space != r.Space {
				s.strayed, x.orphans = true, true // the generation that told its own space may be gone
			}
			if r.Kind != wal.KindWrite {
				s.Space, s.Lane, s.told = r.Space, r.Lane, g.number
			}
			s.home, s.since = g.number, min(s.since, g.number)
		})
	}
	x.changed(s)
	return s
}

// move changes what generations tell of s.
func (x *index) move(s *session, change func()) {
	x.pin(s, -1)
	change()
	x.pin(s, 1)
}

// pin counts s for the generations that alone tell something of it: see session.needs. The counts spare walks over all
// sessions, during which no commit could be told of.
func (x *index) pin(s *session, by int) {
	x.pinned(s.home, by)
	if s.strayed && s.told != s.home {
		x.pinned(s.told, by)
	}
}

func (x *index) pinned(number uint64, by int) {
	if x.pins[number] += by; x.pins[number] == 0 {
		delete(x.pins, number)
	}
}

// changed notes that s differs from what the file says.
func (x *index) changed(s *session) {
	if !s.dirty {
		s.dirty = true
		x.unflushed = append(x.unflushed, s)
	}
}

func (x *index) applySession(g *generation, r *wal.Record) error {
	at, err := closedAt(r)
	if err != nil {
		return err
	}
	s := x.touch(g, r)
	if s == nil {
		return nil
	}
	s.Last = max(s.Last, r.Sequence)
	if !at.IsZero() {
		s.Closed, s.ClosedAt = true, at
	}
	return nil
}

// raise takes in what is known of a session from elsewhere than a whole record, which damage to the journal may have taken
// away. A session is never lowered. What is news has no home: the keeper tells it to the journal before anything else.
// Where certain, s knows the session's own space and lane.
func (x *index) raise(s Session, certain bool) {
	if x.expired[s.ID] != nil {
		return
	}
	x.orphans = true
	have := x.sessions[s.ID]
	if have == nil {
		have = &session{Session: s, since: nowhere}
		x.sessions[s.ID] = have
		x.pin(have, 1)
		x.changed(have)
		return
	}
	if s.Last > have.Last {
		x.move(have, func() { have.Last, have.home = s.Last, 0 })
		x.changed(have)
	}
	if s.Closed && !have.Closed {
		x.move(have, func() { have.Closed, have.ClosedAt, have.home = true, s.ClosedAt, 0 })
		x.changed(have)
	}
	if certain && have.told == 0 && (s.Space != have.Space || s.Lane != have.Lane) {
		x.move(have, func() { have.Space, have.Lane, have.strayed, have.home = s.Space, s.Lane, true, 0 })
		x.changed(have)
	}
}

// orphan says that no generation tells the whole of s: only the ledger's file does.
func (x *index) orphan(s *session) bool {
	return s.home == 0 || (s.strayed && x.generation(s.told) == nil)
}
