package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// supersededStore makes a closed store of tulips 1 to 50, each of them stored several times, and some in another space.
func supersededStore(t testing.TB) (dir string) {
	t.Helper()
	dir = filepath.Join(quickDir(t), "store")
	s, err := Open(dir, small())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for k := 1; k <= 50; k += 7 {
			for i := k; i < min(k+7, 51); i++ {
				mustPut(t, s, tulip(i, 100+i), storetest.Record(wal.FormRemember, uint64(i), "orchard", tulipID(i), "apple", storetest.Vector(9)))
				mustPut(t, s, tulip(i, 1000+i)) // a newer version
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(dir, small()); err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i <= 50; i += 2 {
		mustPut(t, s, tulip(i, 2000+i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// all returns everything a store holds, byte for byte, with versions and commit times.
func all(t *testing.T, dir string) string {
	t.Helper()
	s := open(t, dir, Config{})
	var b strings.Builder
	for _, space := range s.Spaces() {
		answer, err := s.Recall(t.Context(), store.Query{Space: space, Vector: storetest.Vector(3), K: 1000, Threshold: -1})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range answer.Hits {
			fmt.Fprintf(&b, "%s %s %d %v %v %v %x\n", space, h.ID, h.Version, h.CommittedAt, h.Form, h.Score, h.Body)
		}
	}
	if d := s.Damages(); len(d) > 0 {
		t.Errorf("damaged: %+v", d)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCompact(t *testing.T) {
	dir := supersededStore(t)
	before := all(t, dir)
	done, err := Compact(t.Context(), dir, Config{}, CompactOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if done.Memories != 100 || done.GivenUp < 50 || done.After >= done.Before {
		t.Errorf("%+v", done)
	}
	if after := all(t, dir); after != before {
		t.Error("after the compaction other memories are there than before")
	}
	s := open(t, dir, Config{})
	if st := s.Stats(); st.Rows != 100 || st.Live != 100 || st.Bytes != done.After {
		t.Errorf("%+v after %+v", st, done)
	}
	mustPut(t, s, tulip(1, 2001), tulip(2, 3), tulip(60, 60)) // known, older, new
	if n := s.Count(garden); n != 51 {
		t.Errorf("%d memories after one more", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if again, err := Compact(t.Context(), dir, Config{}, CompactOptions{}); err != nil || again.GivenUp != 0 {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
		t.Errorf("left beside the store: %v, %v", left, err)
	}
	// The index can be made anew from the segments as ever.
	if err := os.Remove(filepath.Join(dir, indexName)); err != nil {
		t.Fatal(err)
	}
	if s := open(t, dir, Config{}); s.Count(garden) != 51 || s.Count("orchard") != 50 {
		t.Errorf("without an index: %d and %d", s.Count(garden), s.Count("orchard"))
	}
}

// dying is a disk on which every call from the n-th on fails, as if the process had died before it. It also holds every
// file against the rule that what is exchanged into place was synced.
func dying(n int, t *testing.T) (d *disk, calls *int) {
	calls = new(int)
	var mu sync.Mutex // segments are synced side by side
	dirty := map[string]bool{}
	soil := func(path string) { mu.Lock(); defer mu.Unlock(); dirty[path] = true }
	clean := func(path string) { mu.Lock(); defer mu.Unlock(); delete(dirty, path) }
	errDead := errors.New("dead")
	alive := func() error {
		mu.Lock()
		defer mu.Unlock()
		if *calls++; *calls > n {
			return errDead
		}
		return nil
	}
	d = osDisk()
	real := *d
	d.open = func(path string) (*os.File, error) {
		if err := alive(); err != nil {
			return nil, err
		}
		soil(filepath.Dir(path))
		return real.open(path)
	}
	d.write = func(f *os.File, b []byte, at int64) error {
		if err := alive(); err != nil {
			return err
		}
		soil(f.Name())
		return real.write(f, b, at)
	}
	d.sync = func(f *os.File) error {
		if err := alive(); err != nil {
			return err
		}
		clean(f.Name())
		return real.sync(f)
	}
	d.cut = func(f *os.File, size int64) error { return errors.Join(alive(), real.cut(f, size)) }
	d.syncDir = func(path string) error {
		if err := alive(); err != nil {
			return err
		}
		clean(path)
		return real.syncDir(path)
	}
	d.rename = func(from, to string) error {
		if err := alive(); err != nil {
			return err
		}
		soil(filepath.Dir(to))
		clean(from)
		return real.rename(from, to)
	}
	d.remove = func(path string) error {
		if err := alive(); err != nil {
			return err
		}
		return real.remove(path)
	}
	d.removeAll = func(path string) error {
		if err := alive(); err != nil {
			return err
		}
		return real.removeAll(path)
	}
	d.exchange = func(from, to string) error {
		if err := alive(); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for path := range dirty {
			if strings.HasPrefix(path, from) {
				t.Errorf("%s comes into place, and was not synced", path)
			}
		}
		return real.exchange(from, to)
	}
	return d, calls
}

// TestCompactDies lets the process die before every call to the file system: what is in the directory then is all there.
func TestCompactDies(t *testing.T) {
	origin := supersededStore(t)
	want := all(t, origin)
	for n := 0; ; n++ {
		dir := filepath.Join(quickDir(t), "store")
		copyDir(t, origin, dir)
		d, calls := dying(n, t)
		_, err := Compact(t.Context(), dir, Config{disk: d}, CompactOptions{})
		if got := all(t, dir); got != want {
			t.Fatalf("dead before call %d: other memories are there than before", n+1)
		}
		if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
			t.Errorf("dead before call %d: left beside the store: %v, %v", n+1, left, err)
		}
		if err == nil {
			if n < 20 || *calls > n {
				t.Errorf("the compaction made %d calls", *calls)
			}
			return
		}
	}
}

func TestCompactRefuses(t *testing.T) {
	if _, err := Compact(t.Context(), filepath.Join(t.TempDir(), "none"), Config{}, CompactOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no store: %v", err)
	}
	dir := supersededStore(t)
	s := open(t, dir, Config{})
	if _, err := Compact(t.Context(), dir, Config{}, CompactOptions{}); !errors.Is(err, wal.ErrLocked) {
		t.Errorf("a store in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Compact(ended, dir, Config{}, CompactOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	want := all(t, dir)
	d := osDisk()
	d.exchange = func(string, string) error { return unix.EINVAL }
	if _, err := Compact(t.Context(), dir, Config{disk: d}, CompactOptions{}); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "ext4") {
		t.Errorf("a file system that cannot exchange: %v", err)
	}
	if all(t, dir) != want {
		t.Error("a refusal changed the store")
	}
}

func TestCompactDamaged(t *testing.T) {
	dir := supersededStore(t)
	// The first row is superseded: its damage costs nothing. The last one counts.
	for _, at := range []int64{headerBytes + 100, -100} {
		change(t, lastSegment(t, dir, at < 0), func(b []byte) []byte {
			if at < 0 {
				at += int64(len(b))
			}
			b[at] ^= 1
			return b
		})
	}
	_, err := Compact(t.Context(), dir, Config{}, CompactOptions{})
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "1 cannot be read") {
		t.Fatalf("%v", err)
	}
	done, err := Compact(t.Context(), dir, Config{}, CompactOptions{DropDamaged: true})
	if err != nil || done.Memories != 99 {
		t.Errorf("%+v, %v", done, err)
	}
	if s := open(t, dir, Config{}); s.Count(garden)+s.Count("orchard") != 99 {
		t.Errorf("%d and %d memories are left", s.Count(garden), s.Count("orchard"))
	}
}

// lastSegment is the vectors file of the first or the last segment.
func lastSegment(t *testing.T, dir string, last bool) string {
	t.Helper()
	files, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	if last {
		return segmentPath(dir, vectorsPrefix, files.count-1)
	}
	return segmentPath(dir, vectorsPrefix, 0)
}
