package recovery

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// keepCopies and keepBytes bound the quarantine: the oldest copies go first.
const (
	keepCopies = 32
	keepBytes  = 256 << 20
)

// unfinished ends the name of a copy that is being made.
const unfinished = ".tmp"

// quarantineName is where a copy of damaged bytes goes; it makes the directory.
func quarantineName(dataDir, what string, number uint64) (string, error) {
	dir := QuarantineDir(dataDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the quarantine: %w", err)
	}
	name := fmt.Sprintf("%s-g%020d-%s", what, number, time.Now().UTC().Format("20060102T150405.000000000"))
	return filepath.Join(dir, name), wal.SyncDir(dataDir)
}

// quarantined says whether a copy of the generation's damage was kept before.
func quarantined(dataDir string, number uint64) bool {
	found, err := filepath.Glob(filepath.Join(QuarantineDir(dataDir), fmt.Sprintf("damaged-g%020d-*", number)))
	return err == nil && slices.ContainsFunc(found, func(name string) bool { return !strings.HasSuffix(name, unfinished) })
}

// copyAside keeps a copy of a damaged segment; whole and durable when it returns.
func copyAside(dataDir, segment string, number uint64) error {
	name, err := quarantineName(dataDir, "damaged", number)
	if err == nil {
		err = copySynced(segment, name+unfinished)
	}
	if err == nil {
		err = os.Rename(name+unfinished, name)
	}
	if err == nil {
		err = wal.SyncDir(filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("keep a copy of %s: %w", segment, err)
	}
	return nil
}

func copySynced(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(out, in); err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

// trimQuarantine deletes the oldest copies beyond the bounds, and those that were never finished.
func trimQuarantine(dataDir string) error {
	dir := QuarantineDir(dataDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the quarantine: %w", err)
	}
	when := func(e os.DirEntry) string { return e.Name()[strings.LastIndexByte(e.Name(), '-')+1:] }
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return strings.Compare(when(b), when(a)) })
	var bytes int64
	for i, e := range entries {
		if fi, err := e.Info(); err == nil {
			bytes += fi.Size()
		}
		if i >= keepCopies || (bytes > keepBytes && i > 0) || strings.HasSuffix(e.Name(), unfinished) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("trim the quarantine: %w", err)
			}
		}
	}
	return nil
}
