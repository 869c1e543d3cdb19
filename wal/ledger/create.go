package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// compactAbove is the size from which on a file that is more than half free is written anew: bbolt gives nothing back.
const compactAbove = 4 << 20

// openDisk opens the file for writing, after writing it anew where most of it is free.
func openDisk(path string, log hclog.Logger) (*disk, error) {
	if err := removeTemporary(path); err != nil {
		return nil, err
	}
	d := &disk{path: path}
	if err := d.open(); err != nil {
		return nil, err
	}
	if !d.mostlyFree() {
		return d, nil
	}
	if err := d.compact(); err != nil {
		if d.handle() == nil {
			return nil, fmt.Errorf("compact the ledger %s: %w", path, err)
		}
		log.Warn("the ledger's file stays as large as it is", "file", path, "error", err)
	}
	return d, nil
}

func (d *disk) open() error {
	err := guard(func() error {
		db, err := bbolt.Open(d.path, 0o600, options())
		if err != nil {
			return openError(d.path, err)
		}
		if db.NoSync || db.NoGrowSync || db.NoFreelistSync {
			return errors.Join(errors.New("bbolt was told not to sync"), db.Close())
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.db = db
		return nil
	})
	if err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	return nil
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%s: another process holds it: %w", path, err)
	case errors.Is(err, os.ErrPermission), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return err
	default:
		return fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
}

// mostlyFree says whether the file is large and more than half of it holds nothing.
func (d *disk) mostlyFree() bool {
	fi, err := os.Stat(d.path)
	if err != nil || fi.Size() <= compactAbove {
		return false
	}
	free := false
	err = d.view(func(tx *bbolt.Tx) error {
		db := tx.DB()
		used := tx.Size() - int64(db.Stats().FreePageN)*int64(db.Info().PageSize)
		free = used < fi.Size()/2
		return nil
	})
	return err == nil && free
}

// compact writes what the file holds to a new one and puts that in its place. A crash leaves the one or the other.
func (d *disk) compact() error {
	tmp := temporary(d.path)
	err := d.use(func(db *bbolt.DB) error {
		into, err := bbolt.Open(tmp, 0o600, options())
		if err != nil {
			return err
		}
		return errors.Join(bbolt.Compact(into, db, compactAbove), into.Close())
	})
	if err != nil {
		return errors.Join(err, removeTemporary(d.path))
	}
	if err := d.close(); err != nil {
		return err
	}
	if err := replace(d.path); err != nil {
		return err
	}
	return d.open()
}

// createDisk makes a new file under a temporary name, whole and closed before it gets its own: bbolt's first writes are
// not crash-safe, and it never syncs its directory.
func createDisk(path string, journal [16]byte) (*disk, error) {
	if err := removeTemporary(path); err != nil {
		return nil, err
	}
	err := guard(func() error {
		db, err := bbolt.Open(temporary(path), 0o600, options())
		if err != nil {
			return err
		}
		return errors.Join(db.Update(func(tx *bbolt.Tx) error { return initialise(tx, journal) }), db.Close())
	})
	if err == nil {
		err = replace(path)
	}
	if err != nil {
		return nil, fmt.Errorf("create the ledger: %w", err)
	}
	d := &disk{path: path}
	return d, d.open()
}

// replace gives the temporary file, which is closed and on disk, the name of the ledger.
func replace(path string) error {
	if err := os.Rename(temporary(path), path); err != nil {
		return err
	}
	return wal.SyncDir(filepath.Dir(path))
}

func temporary(path string) string { return path + ".tmp" }

// removeTemporary takes away what a crash may have left half made.
func removeTemporary(path string) error {
	if err := os.Remove(temporary(path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove what an earlier start left of a ledger: %w", err)
	}
	return nil
}

func initialise(tx *bbolt.Tx, journal [16]byte) error {
	for _, name := range append(bucketNames[:], bucketMeta) {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return errors.Join(
		put(tx, bucketMeta, keyFormat, key64(FormatVersion)),
		put(tx, bucketMeta, keyJournal, bytes.Clone(journal[:])),
		put(tx, bucketMeta, keyDurable, key64(0)),
		put(tx, bucketMeta, keyNewest, key64(0)),
		put(tx, bucketMeta, keyCounts, encodeNumbers(make([]uint64, kinds))),
		put(tx, bucketMeta, keyTotals, encodeTotals(wal.Tally{}, wal.Tally{})),
	)
}
