package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld puts a release off: another process copies the journal, and no generation may go before it is done.
var ErrHeld = errors.New("journal held for a copy")

// Hold keeps every generation of a journal where it is, in whichever process the journal is open, until it is let go. The
// kernel does so when its process ends. Records are taken and delivered meanwhile; only space is not given back.
type Hold struct{ dir *os.File }

// holdEvery is how often a journal that gives a generation back just now is asked again.
const holdEvery = 5 * time.Millisecond

// HoldReleases waits for a release under way, or another hold, to end, and holds the journal in dir. It changes nothing on
// disk. The error is ctx's, or the file system's: one without flock on directories cannot be held.
func HoldReleases(ctx context.Context, dir string) (*Hold, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("hold the journal: %w", err)
	}
	again := time.NewTicker(holdEvery)
	defer again.Stop()
	for {
		err := flockNow(d, unix.LOCK_EX)
		if err == nil {
			return &Hold{d}, nil
		}
		if !errors.Is(err, ErrHeld) {
			return nil, errors.Join(fmt.Errorf("hold the journal %s: %w", dir, err), d.Close())
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrHeld, dir, ctx.Err()), d.Close())
		}
	}
}

// LetGo ends the hold.
func (h *Hold) LetGo() error { return h.dir.Close() }

// holdOff keeps holds off while a generation is released, side by side with other releases. The error is ErrHeld where
// there is a hold. A file system without flock on directories has none, so that nothing is to be kept off there.
func (j *Journal) holdOff() (*os.File, error) {
	d, err := os.Open(j.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the journal's directory: %w", err)
	}
	if err := flockNow(d, unix.LOCK_SH); errors.Is(err, ErrHeld) {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func flockNow(d *os.File, how int) error {
	err := unix.Flock(int(d.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrHeld
	}
	return err
}
