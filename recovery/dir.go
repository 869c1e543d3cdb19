package recovery

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/google/uuid"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// prepareDir makes the data directory where there is none, durable in its parents, and refuses one that others may write to
// or own.
func prepareDir(dir string) error {
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("make the data directory: %w: choose another with --data-dir", err)
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the data directory: %w", err)
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("data directory %s may be written by others (mode %#o, expected 0700): %w: chmod go-w it",
			dir, fi.Mode().Perm(), os.ErrPermission)
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("data directory %s belongs to user %d, this process runs as %d: %w: run it as that user, or chown it",
			dir, st.Uid, os.Geteuid(), os.ErrPermission)
	}
	return nil
}

// makeDir makes a directory and those above it that are missing, and syncs the names of those it made.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return wal.SyncDir(parent)
}

// listGenerations returns the numbers of the generations on disk, ascending.
func listGenerations(journalDir string) ([]uint64, error) {
	entries, err := os.ReadDir(journalDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the journal's generations: %w", err)
	}
	var numbers []uint64
	for _, e := range entries {
		if n, ok := wal.ParseGenerationDir(e.Name()); ok && e.IsDir() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// identify reads whose directory this is. FORMAT says so, but where it is lost, cannot be understood, or names a journal
// that no generation is of, the generations' own heads count; where there is nothing of either, it is a new directory. It
// changes nothing.
func identify(dataDir string, numbers []uint64) (f wal.Format, fresh, rewrite bool, err error) {
	f, err = wal.ReadFormat(dataDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, wal.ErrDamaged) {
		return f, false, false, err
	}
	id, told, used := identity(dataDir, numbers, f.Journal)
	switch {
	case told && (err != nil || id != f.Journal):
		return wal.Format{Version: wal.FormatVersion, Journal: id}, false, true, nil
	case err == nil:
		return f, false, false, nil
	case used:
		return f, false, false, fmt.Errorf("%w: and no generation tells whose journal it is: restore the FORMAT file from a backup", err)
	default:
		return wal.NewFormat(), true, true, nil
	}
}

// identity looks for a generation of the expected journal, else for the newest that tells of any. Used says whether any
// generation holds anything.
func identity(dataDir string, numbers []uint64, expected [16]byte) (id [16]byte, told, used bool) {
	for _, n := range slices.Backward(numbers) {
		begin := beginning(wal.SegmentPath(JournalDir(dataDir), n))
		used = used || len(begin) > 0
		found, ok := wal.ReadIdentity(begin)
		if ok && found == expected {
			return found, true, true
		}
		if ok && !told {
			id, told = found, true
		}
	}
	return id, told, used
}

// headRoom is more than the longest head there can be.
const headRoom = 1 << 20

// beginning is the beginning of a segment, nothing where it cannot be read.
func beginning(segment string) []byte {
	f, err := os.Open(segment)
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(f, headRoom))
	if err != nil {
		return nil
	}
	return b
}

// journalName is a journal's identity as FORMAT and messages write it.
func journalName(id [16]byte) string { return uuid.UUID(id).String() }
