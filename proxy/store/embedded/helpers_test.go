package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

const garden = "garden"

// quickDir is a directory in memory, where the system has such a place with room: tests that open hundreds of stores would
// wait for the disk, which they have nothing to ask.
func quickDir(t testing.TB) string {
	t.Helper()
	const memory, room = "/dev/shm", 512 << 20
	var fs unix.Statfs_t
	if err := unix.Statfs(memory, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "embedded-store-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// tulips returns n episodes of the garden, with indexes and ids from first on.
func tulips(first, n int) []wal.Record {
	records := make([]wal.Record, n)
	for i := range records {
		k := first + i
		records[i] = tulip(k, k)
	}
	return records
}

// tulip returns the k. tulip in the version that an index stands for.
func tulip(k, index int) wal.Record {
	return storetest.Record(wal.FormEpisode, uint64(index), garden, tulipID(k), tulipText(k, index), storetest.Vector(uint64(index)))
}

func tulipID(k int) string          { return fmt.Sprintf("tulip-%04d", k) }
func tulipText(k, index int) string { return fmt.Sprintf("tulip %04d as of %04d", k, index) }

func mustPut(t testing.TB, s *Store, records ...wal.Record) {
	t.Helper()
	for i, err := range s.Put(t.Context(), records) {
		if err != nil {
			t.Fatalf("record %d (%s): %v", i, records[i].ID, err)
		}
	}
}

// fullStore makes a closed store that holds tulips 1 to n in the directory, put in batches of three.
func fullStore(t testing.TB, dir string, n int) {
	t.Helper()
	s, err := Open(dir, small())
	if err != nil {
		t.Fatal(err)
	}
	for k := 1; k <= n; k += 3 {
		mustPut(t, s, tulips(k, min(3, n+1-k))...)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// wantTulips checks that exactly these tulips can be recalled, each in the version of its own number.
func wantTulips(t *testing.T, s *Store, from, to int) {
	t.Helper()
	got := map[string]string{}
	for _, it := range holds(t, s, garden) {
		if _, twice := got[it.ID]; twice {
			t.Errorf("%s is there twice", it.ID)
		}
		got[it.ID] = it.Text
	}
	for k := from; k <= to; k++ {
		if got[tulipID(k)] != tulipText(k, k) {
			t.Errorf("%s reads %q, expected %q", tulipID(k), got[tulipID(k)], tulipText(k, k))
		}
	}
	if want := to + 1 - from; len(got) != want || s.Count(garden) != want {
		t.Errorf("%d memories can be recalled and %d are counted, expected %d", len(got), s.Count(garden), want)
	}
}

// copyDir copies a store as it is at this moment.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func change(t testing.TB, path string, fn func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, fn(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func size(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
