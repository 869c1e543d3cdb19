package ledger

import (
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// tomb is a record that must outlive what it buried, lest that rises at a start without the ledger's file: the expiry of a
// session, or the later fate of a dead letter. It is carried out of a generation that is released as long as another one,
// between since and through, still tells of what is buried, and not longer.
type tomb struct {
	session wal.SessionID // that expired, or
	late    wal.Settled   // the later fate of a dead letter

	since, through uint64 // the oldest and the newest generation that may tell of what is buried
	home           uint64 // the newest generation that holds the tomb
}

// expire forgets a session for good: its id never comes back.
func (x *index) expire(g *generation, id wal.SessionID) {
	t := x.expired[id]
	if t == nil {
		t = &tomb{session: id, since: g.number, through: g.number}
		x.expired[id] = t
	}
	if s := x.sessions[id]; s != nil {
		t.span(s.since, s.home)
		x.pin(s, -1)
		delete(x.sessions, id)
	}
	t.place(g)
}

// resettle gives a dead letter the fate that a replay or an operator gave it; at is the index of the record that tells it.
func (x *index) resettle(g *generation, at uint64, s wal.Settled) {
	t := x.settled[s.Index]
	if t == nil {
		t = &tomb{since: g.number, through: g.number}
		x.settled[s.Index] = t
	}
	t.late = s
	if l := x.letters[s.Index]; l != nil {
		t.span(l.since, l.home)
		x.dropLetter(s.Index)
	}
	own := x.holder(s.Index)
	if own != nil {
		t.span(own.number, own.number)
	}
	switch {
	case own == nil:
		// Its generation was released before: the keeper releases none while a late fate of one of its letters may stand
		// behind the newest head.
		if !s.Again && at > x.from && x.released.Dead > 0 {
			x.released = x.released.Move(s.Fate)
		}
	case !own.settled.has(s.Index - own.base): // the file that knew of its death is lost
		if x.settle(s.Index, wal.SessionID{}, s.Fate) {
			x.strays = append(x.strays, s.Index)
		}
	case own.odd[s.Index-own.base] == wal.Dead:
		own.tally, own.dirty = own.tally.Move(s.Fate), true
		if delete(own.odd, s.Index-own.base); s.Fate != wal.Delivered {
			own.odd[s.Index-own.base] = s.Fate
		}
	}
	t.place(g)
}

func (t *tomb) span(since, through uint64) {
	t.since, t.through = min(t.since, since), max(t.through, through)
}

// place notes that g holds the tomb.
func (t *tomb) place(g *generation) {
	if t.home != g.number {
		t.home = g.number
		g.tombs = append(g.tombs, t)
	}
}

// needs says whether t must be carried when generation number goes.
func (x *index) needs(t *tomb, number uint64) bool {
	if t.home != number {
		return false // a newer generation holds it
	}
	for i, _ := x.search(t.since); i < len(x.gens) && x.gens[i].number <= t.through; i++ {
		if x.gens[i].number != number {
			return true
		}
	}
	return false
}

// lateFate says whether one of the generations from number first on holds the later fate, not yet known to any head, of a
// dead letter of generation g. If g went now, a start would find that fate behind the newest head and could not tell
// whether the tally of g knows it.
func (x *index) lateFate(g *generation, first uint64) bool {
	for i, _ := x.search(first); i < len(x.gens); i++ {
		for _, t := range x.gens[i].tombs {
			if t.late.Fate != 0 && !t.late.Again && t.late.Index >= g.base && t.late.Index <= g.last {
				return true
			}
		}
	}
	return false
}

func (t *tomb) record() wal.Record {
	if t.late.Fate == 0 {
		return wal.Record{Kind: wal.KindSessionExpired, Session: t.session}
	}
	again := wal.Settled{Index: t.late.Index, Fate: t.late.Fate, Again: true}
	return wal.Record{Kind: wal.KindSettled, Payload: again.Append(nil)}
}
