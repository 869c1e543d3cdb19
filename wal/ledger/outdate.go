package ledger

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// idKey stands for a memory's space and id, within this process; 0 stands for no id. Two ids may share one: a letter is read
// before it counts as superseded.
type idKey uint64

var idSeed = maphash.MakeSeed()

func keyOf(space string, id []byte) idKey {
	if len(id) == 0 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(idSeed)
	_, _ = h.WriteString(space) // a hash takes everything
	_ = h.WriteByte(0)
	_, _ = h.Write(id)
	return idKey(h.Sum64() | 1)
}

// Records reads records back. It is the journal.
type Records interface {
	Read(indexes []uint64, visit func(*wal.Record) error) error
}

// Outdate looks for newer writes of the ids of dead letters, among those that became durable behind index from and are still
// in the journal; what it finds, Letter says. It returns the index up to which it has looked, for the next call. Writes of
// released generations were looked at when these went.
//
// What it does not find: a newer write that was delivered, and given back, before the letter died. Within a session there
// is none, for what is behind a letter is delivered after it died.
func (l *Ledger) Outdate(ctx context.Context, j Records, from uint64) (through uint64, err error) {
	l.mu.Lock()
	through = l.durable
	var numbers []uint64
	for _, g := range l.x.gens {
		if g.last > from {
			numbers = append(numbers, g.number)
		}
	}
	l.mu.Unlock()
	for _, n := range numbers {
		if err := ctx.Err(); err != nil {
			return from, fmt.Errorf("look for newer writes: %w", err)
		}
		if _, err := l.outdateBy(j, n, from); err != nil {
			return from, err
		}
	}
	return through, nil
}

// outdateBy marks the dead letters that a write of one generation, behind index from, supersedes. It returns those of which
// the journal does not tell so without that write.
func (l *Ledger) outdateBy(j Records, number, from uint64) (untold []uint64, err error) {
	byID, oldest := l.lettersByID()
	writes := l.writesBehind(number, max(from, oldest))
	if len(byID) == 0 || len(writes) == 0 {
		return nil, nil
	}
	err = readWhole(j, writes, func(r *wal.Record) error {
		for _, i := range byID[keyOf(r.Space, r.ID)] {
			if i >= r.Index {
				continue
			}
			fresh, err := l.supersede(i, r)
			if err != nil {
				return err
			}
			if fresh {
				untold = append(untold, i)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for newer writes in generation %d: %w", number, err)
	}
	return untold, nil
}

// lettersByID finds the letters that have an id and of which the journal does not tell that they are superseded; oldest is
// the lowest of their indexes.
func (l *Ledger) lettersByID() (byID map[idKey][]uint64, oldest uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest = math.MaxUint64
	for i, d := range l.x.letters {
		if d.id == 0 || d.told {
			continue
		}
		if byID == nil {
			byID = map[idKey][]uint64{}
		}
		byID[d.id] = append(byID[d.id], i)
		oldest = min(oldest, i)
	}
	return byID, oldest
}

// writesBehind lists the writes of a generation behind index from.
func (l *Ledger) writesBehind(number, from uint64) (out []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.x.generation(number)
	if g == nil || g.last <= from {
		return nil
	}
	g.writes.runs(func(first, last uint64) bool {
		for i := max(g.base+first, from+1); i <= g.base+last; i++ {
			out = append(out, i)
		}
		return true
	})
	return out
}

// supersede marks letter i, where r is a newer write of the same space and id. It says whether the journal has to be told.
func (l *Ledger) supersede(i uint64, r *wal.Record) (untold bool, err error) {
	d, err := l.Letter(i)
	if errors.Is(err, ErrNoLetter) {
		return false, nil // settled meanwhile
	}
	if err != nil {
		l.unreadable(i, err)
		return false, nil //nolint:nilerr // it keeps its generation, and cannot be replayed either
	}
	if d.Space != r.Space || string(d.ID) != string(r.ID) {
		return false, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.x.letters[i]
	if held == nil {
		return false, nil
	}
	held.superseded = true
	return !held.told, nil
}

// readWhole visits those of the indexes that can be read. What is damaged, or released since, is passed over.
func readWhole(j Records, indexes []uint64, visit func(*wal.Record) error) error {
	for len(indexes) > 0 {
		n := 0
		err := j.Read(indexes, func(r *wal.Record) error {
			n++
			return visit(r)
		})
		if err == nil || !errors.Is(err, wal.ErrDamaged) && !errors.Is(err, wal.ErrNotFound) {
			return err
		}
		indexes = indexes[n+1:]
	}
	return nil
}
