package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Journal is what the keeper needs of the journal.
type Journal interface {
	NewProducer() *wal.Producer
	Generations() []wal.Generation
	Release(ctx context.Context, generation uint64, t wal.Tally) error
	Records
}

// flushEvery is how often the file is written while something changes. What a crash loses of it is delivered again.
const flushEvery = 250 * time.Millisecond

// Run is the keeper: it writes the file in the background and releases generations all of whose writes are settled, after
// carrying forward what only they could tell. It returns nil when ctx ends, after a last Flush, and an error when the disk
// fails; a full disk only delays it.
func (l *Ledger) Run(ctx context.Context, j Journal) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return l.tolerate(l.Flush())
		case <-tick.C:
		case <-l.kick:
		}
		if err := l.Round(ctx, j); err != nil && ctx.Err() == nil {
			return err
		}
		select { // a stream of kicks must not make a stream of flushes
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Round flushes and releases once, which Run does again and again. Only what was finished before the flush is released
// after it: whatever such a generation told is then in the file, and what it ended is out of it. While the file cannot be
// written nothing is released. A full disk is no error.
func (l *Ledger) Round(ctx context.Context, j Journal) error {
	l.moving.Lock()
	defer l.moving.Unlock()
	finished := slices.DeleteFunc(j.Generations(), func(g wal.Generation) bool { return !g.Sealed })
	err := l.Flush()
	if err == nil {
		err = l.release(ctx, j, finished)
	}
	if err == nil {
		l.well()
	}
	return l.tolerate(err)
}

// tolerate lets pass what will be well again by itself: a full disk, a full journal, and the end of the process.
func (l *Ledger) tolerate(err error) error {
	switch {
	case err == nil, errors.Is(err, wal.ErrClosed):
		return nil
	case errors.Is(err, wal.ErrFull), isNoRoom(err):
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.full {
			l.full = true
			l.log.Warn("the disk is full: no space is given back until what is settled can be written down", "error", err)
		}
		return nil
	}
	return err
}

// well notes that file and journal could be written.
func (l *Ledger) well() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		l.full = false
		l.log.Info("there is room again: what is settled could be written down")
	}
}

// isNoRoom tells a write that a full disk refused, which passes, from a disk that fails. A failed fsync is never the
// former, whatever it says: bbolt returns that bare, a write as an fs.PathError, and a failed growth in words only.
func isNoRoom(err error) bool {
	var write *fs.PathError
	for _, e := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EFBIG} {
		if errors.As(err, &write) && errors.Is(write.Err, e) {
			return true
		}
		if text := err.Error(); strings.Contains(text, "file resize error") && strings.Contains(text, e.Error()) {
			return true
		}
	}
	return false
}

// release gives back every finished generation that nothing needs any more, wherever it stands. l.moving is held.
func (l *Ledger) release(ctx context.Context, j Journal, finished []wal.Generation) error {
	p := j.NewProducer()
	if err := l.adopt(ctx, p); err != nil {
		return fmt.Errorf("tell the journal what only the ledger knows: %w", err)
	}
	for _, number := range l.leaving(finished) {
		if ctx.Err() != nil {
			return nil
		}
		if err := l.clear(ctx, j, p, number); err != nil {
			return err
		}
		tally, ok := l.empty(number)
		if !ok {
			continue // something is still told by it alone; the next round looks again
		}
		switch err := j.Release(ctx, number, tally); {
		case errors.Is(err, wal.ErrHeld):
			return nil // the next round tries again
		case err != nil:
			return err
		}
		l.forget(number)
	}
	return nil
}

// empty says whether nothing but tombs, which were carried, is told by a generation alone any more, and what became of its
// writes.
func (l *Ledger) empty(number uint64) (wal.Tally, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.x.pins[number] > 0 {
		return wal.Tally{}, false
	}
	for _, letter := range l.x.letters {
		if letter.home == number {
			return wal.Tally{}, false
		}
	}
	g := l.x.generation(number)
	if g == nil {
		return wal.Tally{}, true
	}
	return g.tally, g.pending() == 0
}

// forget takes a released generation out of the account.
func (l *Ledger) forget(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.x.forget(number)
	l.gone.gens[number] = true
}
