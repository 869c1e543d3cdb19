package ledger

import (
	"fmt"
	"slices"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// index is what the ledger knows, in memory. It is built from the journal's records alone, one apply after the other, and
// then told what else is settled; the file on disk only spares redelivery. Ledger.mu guards it.
type index struct {
	gens     []*generation // ascending; no two overlap in indexes
	sessions map[wal.SessionID]*session
	letters  map[uint64]*letter // dead letters, by the index of the write; changed by addLetter and dropLetter alone
	rejected rejected           // their sequences, by session; likewise
	deadSize int64              // of all letters, about
	released wal.Tally          // the writes of released generations
	from     uint64             // released knows every late fate told at or before this index

	expired map[wal.SessionID]*tomb // of the tombs in gens
	settled map[uint64]*tomb

	pins      map[uint64]int // how many sessions each generation alone tells something of
	unflushed []*session     // those that are dirty, and some that have expired since
	orphans   bool           // there may be sessions that no generation tells the whole of

	known  *known   // what the file said at the start; nil once the ledger is built
	strays []uint64 // writes whose fate was applied without knowing whose they were
}

func newIndex(k *known) *index {
	return &index{
		sessions: map[wal.SessionID]*session{}, letters: map[uint64]*letter{}, rejected: rejected{},
		expired: map[wal.SessionID]*tomb{}, settled: map[uint64]*tomb{}, known: k,
		pins: map[uint64]int{}, orphans: true,
	}
}

// generation is the account of one generation of the journal.
type generation struct {
	number  uint64
	base    uint64 // index of its first record
	last    uint64 // index of its last one
	writes  bitmap
	settled bitmap
	odd     map[uint64]wal.Fate // of the settled positions that were not simply delivered
	tally   wal.Tally           // of its writes
	tombs   []*tomb
	dirty   bool // differs from what the file says
}

func (g *generation) pending() uint64 { return g.tally.Pending() }

// letter is what is kept in memory of a dead letter; the letter itself is in the file, or in Ledger.unwritten.
type letter struct {
	session  wal.SessionID
	sequence uint64
	home     uint64 // the newest generation that tells of it: the write's own, or one that carries it; 0: only the file does
	since    uint64 // the oldest one
	size     int64  // in memory and on disk, about
	unread   bool   // that it could not be read has been logged

	id         idKey
	superseded bool // a newer write of its id was seen
	told       bool // the journal tells so by itself, without that write
}

func (x *index) addLetter(index uint64, l *letter) {
	x.letters[index] = l
	x.deadSize += l.size
	x.rejected.add(l.session, l.sequence)
}

func (x *index) dropLetter(index uint64) {
	if l := x.letters[index]; l != nil {
		x.deadSize -= l.size
		x.rejected.remove(l.session, l.sequence)
		delete(x.letters, index)
	}
}

// apply takes in one record of a generation; records come in the order of the journal. The error wraps wal.ErrDamaged: the
// payload is not one of its kind.
func (x *index) apply(number uint64, r *wal.Record) error {
	g, err := x.grow(number, r)
	if err != nil {
		return err
	}
	switch r.Kind {
	case wal.KindWrite:
		x.write(g, r)
	case wal.KindSessionOpened:
		x.touch(g, r)
	case wal.KindSessionClosed, wal.KindCarriedSession:
		return x.applySession(g, r)
	case wal.KindSessionExpired:
		x.expire(g, r.Session)
	case wal.KindCarriedLetter:
		return x.applyLetter(g, r)
	case wal.KindSettled:
		s, err := wal.DecodeSettled(r.Payload)
		if err != nil {
			return err
		}
		x.resettle(g, r.Index, s)
	}
	return nil
}

// grow finds or begins the account of r's generation. No two generations tell of the same index, whatever a crash or a
// rotten disk does to them: to go on from there would be to guess which one was acknowledged.
func (x *index) grow(number uint64, r *wal.Record) (*generation, error) {
	g := x.generation(number)
	if g == nil {
		g = x.begin(number, r.Index)
	}
	if r.Index < g.base {
		return nil, fmt.Errorf("%w: index %d stands in generation %d as well as before it, where the indexes up to %d are: "+
			"restore a backup, or move that generation's directory away", wal.ErrDamaged, r.Index, number, g.base-1)
	}
	g.last = max(g.last, r.Index)
	return g, nil
}

// begin opens the account of a generation.
func (x *index) begin(number, base uint64) *generation {
	if n := len(x.gens); n > 0 {
		base = max(base, x.gens[n-1].last+1)
	}
	g := &generation{number: number, base: base, last: base, odd: map[uint64]wal.Fate{}}
	x.gens = append(x.gens, g)
	return g
}

func (x *index) write(g *generation, r *wal.Record) {
	g.accept(r.Index)
	if !r.Session.IsZero() {
		if s := x.touch(g, r); s != nil {
			s.Last = max(s.Last, r.Sequence)
			s.pending++
		}
	}
	if f := x.known.fate(r.Index); f != 0 {
		x.settle(r.Index, r.Session, f)
	}
}

func (g *generation) accept(index uint64) {
	g.writes.set(index - g.base)
	g.tally.Accepted++
	g.dirty = true
}

func (g *generation) fate(index uint64, f wal.Fate) {
	i := index - g.base
	g.settled.set(i)
	g.tally, g.dirty = g.tally.Add(f, 1), true
	if f != wal.Delivered {
		g.odd[i] = f
	}
}

// applyLetter takes in a dead letter that the journal carries. It proves that the write died, should the file that knew it
// be lost.
func (x *index) applyLetter(g *generation, r *wal.Record) error {
	c, err := wal.DecodeCarriedLetter(r.Payload)
	if err != nil {
		return err
	}
	if t := x.settled[c.Index]; t != nil { // it met its later fate while it was being carried
		t.through = max(t.through, g.number)
		return nil
	}
	l := x.letters[c.Index]
	if l == nil {
		l = &letter{
			session: r.Session, sequence: r.Sequence, since: g.number, size: letterSize(len(c.Payload), len(c.Reason)), id: keyOf(r.Space, r.ID),
		}
		x.addLetter(c.Index, l)
	}
	l.home = g.number
	l.told = l.told || c.Superseded
	l.superseded = l.superseded || c.Superseded
	x.settle(c.Index, r.Session, wal.Dead)
	return nil
}

// pendingAt says that the write at index is there and has no fate.
func (x *index) pendingAt(index uint64) bool {
	g := x.holder(index)
	return g != nil && g.writes.has(index-g.base) && !g.settled.has(index-g.base)
}

// settle notes the fate of a write; false where it is not pending.
func (x *index) settle(index uint64, id wal.SessionID, f wal.Fate) bool {
	if !x.pendingAt(index) {
		return false
	}
	x.holder(index).fate(index, f)
	x.sessions[id].settled(f)
	return true
}

func (x *index) generation(number uint64) *generation {
	i, ok := x.search(number)
	if !ok {
		return nil
	}
	return x.gens[i]
}

// search is the place of a generation, or where it would be.
func (x *index) search(number uint64) (int, bool) {
	return slices.BinarySearchFunc(x.gens, number, func(g *generation, n uint64) int {
		switch {
		case g.number < n:
			return -1
		case g.number > n:
			return 1
		}
		return 0
	})
}

// holder is the generation that holds index, or nil.
func (x *index) holder(index uint64) *generation {
	i, ok := slices.BinarySearchFunc(x.gens, index, func(g *generation, n uint64) int {
		switch {
		case g.last < n:
			return -1
		case g.base > n:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return x.gens[i]
}

func (x *index) balance() Balance {
	t := x.released
	for _, g := range x.gens {
		t = t.Plus(g.tally)
	}
	return Balance{Tally: t, Pending: t.Pending()}
}

// forget takes a released generation out of the account, and the tombs that no newer one holds.
func (x *index) forget(number uint64) {
	i, ok := x.search(number)
	if !ok {
		return
	}
	g := x.gens[i]
	x.orphans = x.orphans || x.pins[number] > 0
	x.released = x.released.Plus(g.tally)
	x.gens = slices.Delete(x.gens, i, i+1)
	for _, t := range g.tombs {
		switch {
		case t.home != number:
		case t.late.Fate == 0:
			delete(x.expired, t.session)
		default:
			delete(x.settled, t.late.Index)
		}
	}
}

// closedAt is when the session of r was closed: a close needs no payload, for its record has a time.
func closedAt(r *wal.Record) (time.Time, error) {
	if r.Kind == wal.KindSessionClosed && len(r.Payload) == 0 {
		return time.Unix(0, r.Time), nil
	}
	c, err := wal.DecodeCarriedSession(r.Payload)
	if err != nil || c.ClosedAt == 0 {
		return time.Time{}, err
	}
	return time.Unix(0, c.ClosedAt), nil
}
