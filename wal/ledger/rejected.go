package ledger

import (
	"slices"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// rejected holds the sequences of the dead letters of each session, ascending, so that a client can be told which of its
// observations died without a look at every letter there is.
type rejected map[wal.SessionID][]uint64

func (r rejected) add(id wal.SessionID, sequence uint64) {
	if id.IsZero() {
		return
	}
	all := r[id]
	if i, there := slices.BinarySearch(all, sequence); !there {
		r[id] = slices.Insert(all, i, sequence)
	}
}

func (r rejected) remove(id wal.SessionID, sequence uint64) {
	all := r[id]
	if i, there := slices.BinarySearch(all, sequence); there {
		all = slices.Delete(all, i, i+1)
	}
	if r[id] = all; len(all) == 0 {
		delete(r, id)
	}
}

// Rejected lists the sequences of a session above after, up to through, whose writes are dead letters now: ascending, at most
// limit of them. One that was replayed or dropped since is none any more.
func (l *Ledger) Rejected(id wal.SessionID, after, through uint64, limit int) []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.x.rejected[id]
	from, _ := slices.BinarySearch(all, after+1)
	to, _ := slices.BinarySearch(all, through+1)
	if from >= to {
		return nil
	}
	return slices.Clone(all[from:min(to, from+limit)])
}
