package ledger

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Limits bound the dead letters that are kept. Zero is no limit.
type Limits struct {
	Count int
	Bytes int64 // of payloads and reasons, and 256 for each
}

// SetLimits sets what Bury holds to. What is there already stays, be it more.
func (l *Ledger) SetLimits(limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = limits
}

// LetterStats counts the dead letters, and what bounds them.
func (l *Ledger) LetterStats() (count int, bytes int64, limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.x.letters), l.x.deadSize, l.limits
}

// room refuses one more letter where there are as many as may be. l.mu is held.
func (l *Ledger) room(size int64) error {
	n := len(l.x.letters)
	if n == 0 || (l.limits.Count == 0 || n < l.limits.Count) && (l.limits.Bytes == 0 || l.x.deadSize+size <= l.limits.Bytes) {
		return nil
	}
	return fmt.Errorf("%w: %d of them, %d bytes: replay or drop some, nothing is delivered until then", ErrTooMany, n, l.x.deadSize)
}

// Bury keeps a write as a dead letter, in memory at once and in the file soon; the ledger makes its own copy of id and
// payload. Where DiedAt is zero it is now. A write that is not pending stays as it is. The error wraps ErrTooMany at the
// limits, and ErrBusy while 16 MiB of earlier letters cannot be written; the write stays pending then.
func (l *Ledger) Bury(d Letter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.x.pendingAt(d.Index) {
		if err := l.room(d.size()); err != nil {
			return err
		}
	}
	if l.waiting > 0 && l.waiting+d.size() > maxUnwritten {
		l.notify()
		return fmt.Errorf("%w: %d bytes of them: free some space on the disk", ErrBusy, l.waiting)
	}
	if d.DiedAt.IsZero() {
		d.DiedAt = time.Now()
	}
	if !l.x.settle(d.Index, d.Session, wal.Dead) {
		return nil // settled before: an answer that came twice
	}
	d.own()
	d.Kind = wal.KindWrite
	g := l.x.holder(d.Index)
	l.x.addLetter(d.Index, &letter{
		session: d.Session, sequence: d.Sequence, home: g.number, since: g.number, size: d.size(), id: keyOf(d.Space, d.ID),
	})
	l.keep(&d)
	l.tellChange()
	l.notify()
	return nil
}

// keep holds a letter until it is in the file. l.mu is held, or l is not yet shared.
func (l *Ledger) keep(d *Letter) {
	l.unwritten[d.Index] = d
	l.waiting += d.size()
}

func (l *Ledger) dropUnwritten(index uint64) {
	if d := l.unwritten[index]; d != nil {
		l.waiting -= d.size()
		delete(l.unwritten, index)
	}
}

// Letters lists the indexes of the writes that are dead letters, ascending.
func (l *Ledger) Letters() []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]uint64, 0, len(l.x.letters))
	for i := range l.x.letters {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}

// Letter returns one dead letter, whole; its bytes must not be changed. The error wraps ErrNoLetter, or ErrDamaged.
func (l *Ledger) Letter(index uint64) (*Letter, error) {
	l.mu.Lock()
	d, held := l.unwritten[index], l.x.letters[index]
	superseded := held != nil && held.superseded
	l.mu.Unlock()
	switch {
	case held == nil:
		return nil, fmt.Errorf("%w: index %d", ErrNoLetter, index)
	case d != nil:
		out := *d
		out.Superseded = superseded
		return &out, nil
	}
	err := l.disk.view(func(tx *bbolt.Tx) error {
		key := key64(index)
		value, err := openValue(key, bytes.Clone(tx.Bucket(bucketNames[bucketLetters]).Get(key)))
		if err == nil {
			d, err = decodeLetter(value)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read dead letter %d from the ledger: %w", index, err)
	}
	d.Superseded = superseded
	return d, nil
}

// Amend notes that the store refused a dead letter once more. It is lost with the file, for where the letter was carried the
// journal keeps what was known then; and it is left undone while the file cannot be written.
func (l *Ledger) Amend(d Letter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.x.letters[d.Index]
	if held == nil || l.waiting+d.size() > maxUnwritten {
		return
	}
	l.dropUnwritten(d.Index)
	l.x.deadSize += d.size() - held.size
	held.size = d.size()
	d.Superseded = held.superseded
	d.own()
	l.keep(&d)
}

// Fates is what Resolve needs of the journal.
type Fates interface {
	Settle(ctx context.Context, index uint64, f wal.Fate, released bool) error
}

// Resolve gives a dead letter the fate that a replay or an operator decided, wal.Delivered or wal.Dropped, and returns when
// that is durable. ctx is looked at only before. The error wraps ErrNoLetter, or is the journal's.
func (l *Ledger) Resolve(ctx context.Context, j Fates, index uint64, f wal.Fate) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("settle dead letter %d: %w", index, err)
	}
	l.moving.Lock()
	defer l.moving.Unlock()
	l.mu.Lock()
	held, released := l.x.letters[index] != nil, l.x.holder(index) == nil
	l.mu.Unlock()
	if !held {
		return fmt.Errorf("%w: index %d", ErrNoLetter, index)
	}
	return j.Settle(context.WithoutCancel(ctx), index, f, released)
}
