package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/integration/smalldisk"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// TestIndexIsExchanged lets a commit fail for reasons that lie in the index's own pages.
func TestIndexIsExchanged(t *testing.T) {
	for name, cause := range map[string]error{
		"a page of its free list at an absurd place": &fs.PathError{Op: "write", Path: indexName, Err: unix.EFBIG},
		"bbolt's own words":                          errors.New("file resize error: invalid argument"),
		"a panic":                                    fmt.Errorf("%w: page 7 already freed", errIndex),
	} {
		t.Run(name, func(t *testing.T) {
			d := osDisk()
			dir := filepath.Join(t.TempDir(), "store")
			s := open(t, dir, Config{SegmentRows: 8, disk: d})
			mustPut(t, s, tulips(1, 20)...)
			failures := 1
			d.commit = func() error {
				if failures--; failures == 0 {
					return cause
				}
				return nil
			}
			mustPut(t, s, tulips(21, 3)...)
			mustPut(t, s, tulips(1, 26)...)
			wantTulips(t, s, 1, 26)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, dir, Config{})
			wantTulips(t, again, 1, 26)
			if st := again.Stats(); st.Rows != 26 {
				t.Errorf("%d rows, expected 26", st.Rows)
			}

			d = osDisk() // and where that does not help
			d.commit = func() error { return cause }
			s = open(t, filepath.Join(t.TempDir(), "store"), Config{disk: d})
			if err := s.Put(t.Context(), tulips(1, 1))[0]; store.ClassOf(err) != store.ClassUnavailable || s.failed == nil {
				t.Errorf("expected a failure for good, got %v", err)
			}
		})
	}
}

// TestNoRoomForNewIndex exchanges an index when there is no room for another.
func TestNoRoomForNewIndex(t *testing.T) {
	d := osDisk()
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, dir, Config{SegmentRows: 8, disk: d})
	mustPut(t, s, tulips(1, 20)...)
	full := true
	rename := d.rename
	d.rename = func(from, to string) error {
		if full {
			return written(unix.ENOSPC)
		}
		return rename(from, to)
	}
	d.commit = func() error {
		if full {
			return errIndex
		}
		return nil
	}
	for range 3 {
		if err := s.Put(t.Context(), tulips(21, 3))[0]; store.ClassOf(err) != store.ClassUnavailable {
			t.Fatalf("expected that there is no room, got %v", err)
		}
		wantTulips(t, s, 1, 20)
	}
	full = false
	mustPut(t, s, tulips(21, 3)...)
	wantTulips(t, s, 1, 23)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantTulips(t, open(t, dir, Config{}), 1, 23)
}

// TestFullDisk fills a small file system to each of many marks, and gives it room again.
func TestFullDisk(t *testing.T) {
	root := smalldisk.New(t, 64<<10, 0)
	for kib := 100; kib < 600; kib += 7 {
		smalldisk.Resize(t, root, 16<<20)
		dir := filepath.Join(root, fmt.Sprintf("store-%d", kib))
		s := open(t, dir, Config{SegmentRows: 8})
		var fs unix.Statfs_t
		if err := unix.Statfs(root, &fs); err != nil {
			t.Fatal(err)
		}
		used := int(fs.Blocks-fs.Bfree) * 4
		smalldisk.Resize(t, root, int64(used-80+kib)<<10)
		next := fillUp(t, s)
		wantTulips(t, s, 1, next-1)
		smalldisk.Resize(t, root, 16<<20)
		mustPut(t, s, tulips(next, 10)...)
		wantTulips(t, s, 1, next+9)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir, Config{})
		wantTulips(t, again, 1, next+9)
		if st := again.Stats(); st.Damaged != 0 || t.Failed() {
			t.Fatalf("%d KiB: %+v", kib, st)
		}
		if err := errors.Join(again.Close(), os.RemoveAll(dir)); err != nil {
			t.Fatal(err)
		}
	}
}

// fillUp stores until there is no room, and returns the first tulip that was not stored.
func fillUp(t *testing.T, s *Store) int {
	t.Helper()
	for next := 1; ; next += 3 {
		err := errors.Join(s.Put(t.Context(), tulips(next, 3))...)
		if err == nil {
			continue
		}
		if store.ClassOf(err) != store.ClassUnavailable || s.failed != nil {
			t.Fatalf("a full disk is no failure: %v", err)
		}
		return next
	}
}
