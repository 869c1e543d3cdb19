package ledger

import (
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Balance is the account of every write there ever was.
func (l *Ledger) Balance() Balance {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.x.balance()
}

// Sessions lists the sessions that can be resumed, and those closed not long ago.
func (l *Ledger) Sessions() []Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Session, 0, len(l.x.sessions))
	for _, s := range l.x.sessions {
		out = append(out, s.Session)
	}
	return out
}

// Remaining is how many writes of a session are pending, and how many died that are still in the journal.
func (l *Ledger) Remaining(id wal.SessionID) (pending, dead uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.x.sessions[id]; s != nil {
		return s.pending, s.dead
	}
	return 0, 0
}

// Through is the highest sequence of a session such that it and all before it are settled. Within a session the order of
// delivery is the sequence's, so that what is pending is always its end.
func (l *Ledger) Through(id wal.SessionID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.x.sessions[id]
	if s == nil || s.pending > s.Last {
		return 0
	}
	return s.Last - s.pending
}

// Changed returns a channel that is closed at the next settlement of anything.
func (l *Ledger) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

// Pending calls visit for each run of indexes whose writes are pending, ascending, as they were at the call, until it
// returns false. Indexes of records that are no writes are not in a run.
func (l *Ledger) Pending(visit func(first, last uint64) bool) {
	type open struct {
		base uint64
		left bitmap
	}
	l.mu.Lock()
	all := make([]open, 0, len(l.x.gens))
	for _, g := range l.x.gens {
		if g.pending() > 0 {
			all = append(all, open{base: g.base, left: g.writes.without(g.settled)})
		}
	}
	l.mu.Unlock()
	for _, o := range all {
		if !o.left.runs(func(first, last uint64) bool { return visit(o.base+first, o.base+last) }) {
			return
		}
	}
}

// IsPending says whether the write at an index is known and not settled.
func (l *Ledger) IsPending(index uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.x.holder(index)
	return g != nil && g.writes.has(index-g.base) && !g.settled.has(index-g.base)
}

// Committed is the journal's OnCommit: it takes in what has just become durable. It does not block.
func (l *Ledger) Committed(c *wal.Commit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range c.Records {
		r := &c.Records[i]
		if err := l.x.apply(c.Generation, r); err != nil {
			l.log.Error("the ledger cannot read what this process wrote", "index", r.Index, "error", err)
			continue
		}
		switch r.Kind {
		case wal.KindSessionExpired:
			l.gone.sessions[r.Session] = true
		case wal.KindSettled:
			if s, err := wal.DecodeSettled(r.Payload); err == nil {
				l.dropUnwritten(s.Index)
				l.gone.letters[s.Index] = true
				l.tellChange()
			}
		}
	}
	l.durable = c.Records[len(c.Records)-1].Index
}

// Settle notes the fate of a write, in memory at once and in the file soon. It returns false where the write was not
// pending: settled before, or not known. A dead one is for Bury.
func (l *Ledger) Settle(index uint64, id wal.SessionID, f wal.Fate) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.x.settle(index, id, f) {
		return false
	}
	l.tellChange()
	if g := l.x.holder(index); g != nil && g.pending() == 0 {
		l.notify()
	}
	return true
}
