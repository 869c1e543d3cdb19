package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ScanOpen is ScanGeneration over the first size bytes of a segment that is open: its file may be growing, or have been
// deleted meanwhile. Path is for messages.
func ScanOpen(f io.ReaderAt, size int64, path string, journal [16]byte, number uint64, visit func(*Record) error) (*Scanned, error) {
	data := make([]byte, min(size, maxSegmentBytes))
	n, err := io.ReadFull(io.NewSectionReader(f, 0, int64(len(data))), data)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("read generation %d: %w", number, err)
	}
	return scanSegment(path, data[:n], journal, number, visit)
}

// LockHolder says which process holds a data directory, "" where none does. It changes nothing. To find that nobody has
// the lock it holds it for some microseconds, side by side with others that ask.
func LockHolder(dir string) (string, error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("open the lock file: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written, and the lock goes with it
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return strings.TrimSpace(holder(path)), nil
	case err != nil:
		return "", fmt.Errorf("look at the lock %s: %w", path, err)
	}
	return "", nil
}
