package ledger

import (
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// change is what differs between memory and file.
type change struct {
	gens     map[uint64][]byte
	sessions map[wal.SessionID][]byte
	letters  map[uint64]*Letter
	gone     gone
	durable  uint64
	totals   []byte
}

// Flush writes what has changed to the file, in one transaction, and returns when it is durable. Where it fails the marks
// stay in memory for the next call; the worst that a crash makes of them is a redelivery.
func (l *Ledger) Flush() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	c := l.collect()
	if c == nil {
		return nil
	}
	if err := l.disk.update(c.write); err != nil {
		l.putBack(c)
		return fmt.Errorf("write the ledger %s: %w", l.disk.path, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written = c.durable
	for i, letter := range c.letters {
		if l.unwritten[i] == letter {
			l.dropUnwritten(i)
		}
	}
	return nil
}

// collect takes what is to be written; nil where nothing is.
func (l *Ledger) collect() *change {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &change{
		gens: map[uint64][]byte{}, sessions: map[wal.SessionID][]byte{}, letters: map[uint64]*Letter{},
		gone: l.gone, durable: l.durable, totals: encodeTotals(l.x.released, l.x.balance().Tally),
	}
	l.gone = newGone()
	for _, g := range l.x.gens {
		if g.dirty {
			c.gens[g.number], g.dirty = g.encode(), false
		}
	}
	for id, s := range l.x.sessions {
		if s.dirty {
			c.sessions[id], s.dirty = s.encode(), false
		}
	}
	for i, letter := range l.unwritten {
		c.letters[i] = letter
	}
	if len(c.gens) == 0 && len(c.sessions) == 0 && len(c.letters) == 0 && c.gone.empty() && c.durable == l.written {
		return nil
	}
	return c
}

func (l *Ledger) putBack(c *change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range c.gens {
		if g := l.x.generation(n); g != nil {
			g.dirty = true
		}
	}
	for id := range c.sessions {
		if s := l.x.sessions[id]; s != nil {
			s.dirty = true
		}
	}
	for n := range c.gone.gens {
		l.gone.gens[n] = true
	}
	for id := range c.gone.sessions {
		l.gone.sessions[id] = true
	}
	for i := range c.gone.letters {
		l.gone.letters[i] = true
	}
}

// write puts the change into a transaction. What is gone comes first: an index or a session's id never comes back, but a
// generation's number might.
func (c *change) write(tx *bbolt.Tx) error {
	if err := c.remove(tx); err != nil {
		return err
	}
	for n, value := range c.gens {
		if err := put(tx, bucketGenerations, key64(n), value); err != nil {
			return err
		}
	}
	for id, value := range c.sessions {
		if err := put(tx, bucketSessions, id[:], value); err != nil {
			return err
		}
	}
	for i, letter := range c.letters {
		if err := put(tx, bucketLetters, key64(i), letter.encode()); err != nil {
			return err
		}
	}
	if err := put(tx, bucketMeta, keyTotals, c.totals); err != nil {
		return err
	}
	return put(tx, bucketMeta, keyDurable, key64(c.durable))
}

func (c *change) remove(tx *bbolt.Tx) error {
	for n := range c.gone.gens {
		if err := tx.Bucket(bucketGenerations).Delete(key64(n)); err != nil {
			return err
		}
	}
	for id := range c.gone.sessions {
		if err := tx.Bucket(bucketSessions).Delete(id[:]); err != nil {
			return err
		}
	}
	for i := range c.gone.letters {
		if err := tx.Bucket(bucketLetters).Delete(key64(i)); err != nil {
			return err
		}
	}
	return nil
}
