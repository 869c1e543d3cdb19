package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disk is what the store asks of the file system, each call on its own so that a test can let any of them fail, or copy
// what would survive a power cut at that moment. Errors of open, write and rename are errFull where room is
// short.
type disk struct {
	open    func(path string) (*os.File, error) // for reading and writing; created where it is missing
	write   func(f *os.File, b []byte, at int64) error
	sync    func(f *os.File) error
	cut     func(f *os.File, size int64) error
	rename  func(from, to string) error
	remove  func(path string) error
	syncDir func(path string) error

	exchange  func(one, other string) error // two names of this directory's file system, in one step
	removeAll func(path string) error

	// commit is called before each commit of the index; an error is taken for bbolt's own.
	commit func() error
}

func osDisk() *disk {
	return &disk{
		open: func(path string) (*os.File, error) {
			f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
			return f, written(err)
		},
		write: func(f *os.File, b []byte, at int64) error {
			_, err := f.WriteAt(b, at)
			return written(err)
		},
		sync: (*os.File).Sync,
		cut:  (*os.File).Truncate,
		rename: func(from, to string) error {
			return written(os.Rename(from, to))
		},
		remove: os.Remove,
		exchange: func(one, other string) error {
			return unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
		},
		removeAll: os.RemoveAll,
		syncDir:   syncDir,
		commit:    func() error { return nil },
	}
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDir creates the store's directory and makes its name durable.
func makeDir(d *disk, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the store's directory: %w", err)
	}
	// The directory itself too: what stands in it may come from a process that died before it did so.
	if err := errors.Join(d.syncDir(filepath.Dir(dir)), d.syncDir(dir)); err != nil {
		return fmt.Errorf("sync the store's directory: %w", err)
	}
	return nil
}

// errFull marks a write that was refused for want of room: nothing is wrong with the disk, and what was written of it can be
// cut off again. The same numbers from an fsync mean something else (pages that were thought written are lost), so only
// errors of writes are ever marked.
var errFull = errors.New("no room")

// written marks the error of a write, or of making a name, where it is errFull.
func written(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("%w: %w", errFull, err)
	}
	return err
}
