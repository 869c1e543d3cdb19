package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

var (
	// ErrUnfinished refuses a directory into which a copy was begun and not finished.
	ErrUnfinished = errors.New("unfinished copy of a data directory")
	// ErrNotEmpty refuses to copy into a directory that holds something.
	ErrNotEmpty = errors.New("directory not empty")
)

// unfinishedName marks a directory that is being copied into: nobody may take what is there so far for all of it.
const unfinishedName = "UNFINISHED"

// Copied is what a copy holds.
type Copied struct {
	Generations int
	Bytes       int64  // of the journal
	Last        uint64 // index of the journal's last record
}

// Copy makes an empty directory a copy of a data directory, be that stopped or in use. It is a data directory itself: one
// can inspect it, and serve from it. Store copies the store's own files, and is called once.
//
// What was acknowledged before Copy was called is in the copy. It is in the journal, or was given back after the store had
// it. So the releases are put off first, then the store is copied, then the journal: what the store's copy lacks was not
// delivered before that, and is in a generation that cannot have gone since. What is in both is delivered again when the
// copy is served, which is harmless by its id and its index; and no index in the store's copy is above the journal's last,
// because the journal comes after it, so that nothing new in the copy can pass for older than what it holds.
//
// The ledger is left out: a file that is being written cannot be copied, and a start builds it anew from the journal. So is
// the quarantine. Finished generations never change; of the newest a tail may be cut, and is torn like a crash's.
//
// The copy is durable when Copy returns. Cut short before, it bears a mark, and every start refuses it. The error wraps
// ErrNotEmpty, ErrNoDataDir, ErrUnfinished, wal.ErrLocked, wal.ErrHeld (when ctx ends before a hold was given), or is the
// file system's.
func Copy(ctx context.Context, from, to string, store func(ctx context.Context) error) (c Copied, err error) {
	if err := errors.Join(CheckDataDir(from), refuseUnfinished(from)); err != nil {
		return c, err
	}
	if err := errors.Join(prepareDir(to), isEmpty(to)); err != nil { // before the lock, which leaves a file
		return c, err
	}
	lock, err := wal.AcquireLock(to)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if err := begin(to); err != nil {
		return c, err
	}
	hold, err := wal.HoldReleases(ctx, JournalDir(from))
	if err != nil {
		return c, err
	}
	err = store(ctx)
	if err == nil {
		c, err = copyJournal(ctx, from, to)
	}
	if err = errors.Join(err, hold.LetGo()); err != nil {
		return c, fmt.Errorf("%w: empty %s before it is used", err, to)
	}
	return c, finish(to)
}

// isEmpty refuses a directory in which there is anything but a lock.
func isEmpty(to string) error {
	entries, err := os.ReadDir(to)
	if err != nil {
		return fmt.Errorf("look into %s: %w", to, err)
	}
	for _, e := range entries {
		if e.Name() != "LOCK" {
			return fmt.Errorf("%w: %s holds %q: name an empty one, or move what is there away", ErrNotEmpty, to, e.Name())
		}
	}
	return nil
}

// begin marks an empty directory whose lock is held.
func begin(to string) error {
	if err := isEmpty(to); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(to, unfinishedName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("mark %s: %w", to, err)
	}
	return errors.Join(f.Close(), wal.SyncDir(to))
}

func finish(to string) error {
	err := wal.SyncDir(to)
	if err == nil {
		err = os.Remove(filepath.Join(to, unfinishedName))
	}
	if err == nil {
		err = wal.SyncDir(to)
	}
	if err != nil {
		return fmt.Errorf("finish the copy: %w", err)
	}
	return nil
}

func refuseUnfinished(dir string) error {
	_, err := os.Lstat(filepath.Join(dir, unfinishedName))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	return fmt.Errorf("%w: %s: a backup or restore into it was cut short: empty it and begin again", ErrUnfinished, dir)
}

func copyJournal(ctx context.Context, from, to string) (c Copied, err error) {
	v, err := openView(JournalDir(from))
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	format, _, _, err := identify(from, v.numbers())
	if err != nil {
		return c, err
	}
	if err := os.Mkdir(JournalDir(to), 0o700); err != nil {
		return c, err
	}
	for _, n := range v.numbers() {
		if v.sizes[n] == 0 {
			continue // made ready, and not used yet
		}
		if err := errors.Join(ctx.Err(), copyGeneration(v.reader(n), JournalDir(to), n)); err != nil {
			return c, fmt.Errorf("copy generation %d: %w", n, err)
		}
		s, err := wal.ScanOpen(v.files[n], v.sizes[n], wal.SegmentPath(JournalDir(from), n), format.Journal, n, nil)
		if err != nil {
			return c, err
		}
		c = Copied{Generations: c.Generations + 1, Bytes: c.Bytes + v.sizes[n], Last: max(c.Last, s.LastIndex())}
	}
	return c, errors.Join(wal.SyncDir(JournalDir(to)), wal.WriteFormat(to, format))
}

func copyGeneration(from io.Reader, journalDir string, number uint64) error {
	dir := wal.GenerationDir(journalDir, number)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(wal.SegmentPath(journalDir, number), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(out, from); err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close(), wal.SyncDir(dir))
}
