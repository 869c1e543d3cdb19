package ledger

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// change is what differs between memory and file.
type change struct {
	gens     map[uint64][]byte
	sessions map[wal.SessionID][]byte
	letters  map[uint64]*Letter
	gone     gone
	newest   uint64
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

// collect takes what is to be written; nil where nothing is. Sessions are taken after the rest and some at a time, for no
// commit can be told of meanwhile: one that is newer than the rest is no harm, since the journal tells of it.
func (l *Ledger) collect() *change {
	c, sessions := l.collectMost()
	for some := range slices.Chunk(sessions, sessionsAtOnce) {
		l.collectSessions(c, some)
	}
	return c
}

// sessionsAtOnce bounds how many sessions are encoded while commits wait.
const sessionsAtOnce = 256

func (l *Ledger) collectSessions(c *change, some []*session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range some {
		if l.x.sessions[s.ID] == s { // else it has expired
			c.sessions[s.ID] = s.encode()
		}
		s.dirty = false
	}
}

func (l *Ledger) collectMost() (*change, []*session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.x.gens); n > 0 {
		l.newest = max(l.newest, l.x.gens[n-1].number)
	}
	c := &change{
		gens: map[uint64][]byte{}, sessions: map[wal.SessionID][]byte{}, letters: map[uint64]*Letter{},
		gone: l.gone, newest: l.newest, durable: l.durable, totals: encodeTotals(l.x.released, l.x.balance().Tally),
	}
	l.gone = newGone()
	for _, g := range l.x.gens {
		if g.dirty {
			c.gens[g.number], g.dirty = g.encode(), false
		}
	}
	sessions := l.x.unflushed
	l.x.unflushed = nil
	for i, letter := range l.unwritten {
		c.letters[i] = letter
	}
	if len(c.gens) == 0 && len(sessions) == 0 && len(c.letters) == 0 && c.gone.empty() && c.durable == l.written {
		return nil, nil
	}
	return c, sessions
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
			l.x.changed(s)
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
	w, err := newWriter(tx)
	if err != nil {
		return err
	}
	for n := range c.gone.gens {
		w.remove(bucketGenerations, key64(n))
	}
	for id := range c.gone.sessions {
		w.remove(bucketSessions, id[:])
	}
	for i := range c.gone.letters {
		w.remove(bucketLetters, key64(i))
	}
	for n, value := range c.gens {
		w.put(bucketGenerations, key64(n), value)
	}
	for id, value := range c.sessions {
		w.put(bucketSessions, id[:], value)
	}
	for i, letter := range c.letters {
		w.put(bucketLetters, key64(i), letter.encode())
	}
	return errors.Join(
		w.err,
		put(tx, bucketMeta, keyCounts, encodeNumbers(w.counts[:])),
		put(tx, bucketMeta, keyTotals, c.totals),
		put(tx, bucketMeta, keyNewest, key64(c.newest)),
		put(tx, bucketMeta, keyDurable, key64(c.durable)),
	)
}

// writer puts values into the buckets and keeps count of them: a page that rots may lose keys, and no checksum over a value
// tells of one that is not there.
type writer struct {
	buckets [kinds]*bbolt.Bucket
	counts  [kinds]uint64
	err     error // the first
}

func newWriter(tx *bbolt.Tx) (*writer, error) {
	w := &writer{}
	for i, name := range bucketNames {
		w.buckets[i] = tx.Bucket(name)
	}
	value, err := openValue(keyCounts, tx.Bucket(bucketMeta).Get(keyCounts))
	if err == nil {
		err = decodeNumbers(value, w.counts[:])
	}
	return w, err
}

func (w *writer) put(bucket int, key, value []byte) {
	if w.err != nil {
		return
	}
	if w.buckets[bucket].Get(key) == nil {
		w.counts[bucket]++
	}
	w.err = w.buckets[bucket].Put(key, sealValue(key, value))
}

func (w *writer) remove(bucket int, key []byte) {
	if w.err != nil || w.buckets[bucket].Get(key) == nil {
		return
	}
	w.counts[bucket]--
	w.err = w.buckets[bucket].Delete(key)
}
