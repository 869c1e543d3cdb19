package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// CutTail cuts the segment to its first end bytes, after copying what stands behind them to keepAs; both are durable when
// it returns. An empty keepAs keeps no copy, which is for a disk that has no room for one. Only bytes that were never
// acknowledged may be cut: see Scanned.TornAt. Where it fails before the cut, the segment is as it was.
func CutTail(segment string, end int64, keepAs string) error {
	f, err := os.OpenFile(segment, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cut the torn tail: %w", err)
	}
	if err := errors.Join(cutTail(f, end, keepAs), f.Close()); err != nil {
		return fmt.Errorf("cut the torn tail of %s at byte %d: %w", segment, end, err)
	}
	return nil
}

func cutTail(f *os.File, end int64, keepAs string) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if end < 0 || end > st.Size() {
		return fmt.Errorf("it has %d bytes", st.Size())
	}
	if keepAs != "" {
		if err := keepCopy(io.NewSectionReader(f, end, st.Size()-end), keepAs); err != nil {
			return fmt.Errorf("keep a copy: %w", err)
		}
	}
	if err := f.Truncate(end); err != nil {
		return err
	}
	return f.Sync()
}

// keepCopy writes r to a new file, and returns when bytes and name are durable; what it leaves of a failure is nothing.
func keepCopy(r io.Reader, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return SyncDir(filepath.Dir(path))
}

// RemoveGeneration deletes a generation that was released, or that never held a record.
func RemoveGeneration(journalDir string, number uint64) error {
	if err := os.RemoveAll(GenerationDir(journalDir, number)); err != nil {
		return fmt.Errorf("delete generation %d: %w", number, err)
	}
	return nil
}
