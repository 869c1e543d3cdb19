package embedded

import (
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
)

// failing lets the n-th call to the file system fail with an error, and remembers what it was. A write that fails has
// written half.
type failing struct {
	*disk
	mu     sync.Mutex
	left   int
	number unix.Errno
	call   string // that failed; "" for none yet
	synced int    // syncs and commits after a sync or a commit that failed
}

func newFailing(n int, number unix.Errno) *failing {
	real := osDisk()
	d := &failing{left: n, number: number}
	d.disk = &disk{
		open: func(path string) (*os.File, error) {
			if err := d.fails("open", path); err != nil {
				return nil, written(err)
			}
			return real.open(path)
		},
		write: func(f *os.File, b []byte, at int64) error {
			if err := d.fails("write", f.Name()); err != nil {
				return errors.Join(real.write(f, b[:len(b)/2], at), written(err))
			}
			return real.write(f, b, at)
		},
		sync: func(f *os.File) error {
			if err := d.fails("sync", f.Name()); err != nil {
				return err
			}
			return real.sync(f)
		},
		cut: func(f *os.File, size int64) error {
			if err := d.fails("truncate", f.Name()); err != nil {
				return err
			}
			return real.cut(f, size)
		},
		rename: func(from, to string) error {
			if err := d.fails("rename", to); err != nil {
				return err
			}
			return real.rename(from, to)
		},
		remove: func(path string) error { return real.remove(path) },
		syncDir: func(path string) error {
			if err := d.fails("sync", path); err != nil {
				return err
			}
			return real.syncDir(path)
		},
		commit: func() error { return d.fails("commit", indexName) },
	}
	return d
}

func (d *failing) fails(call, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if (call == "sync" || call == "commit") && (strings.HasPrefix(d.call, "sync") || strings.HasPrefix(d.call, "commit")) {
		d.synced++
	}
	d.left--
	if d.left != 0 {
		return nil
	}
	d.call = call + " " + filepath.Base(path)
	op := call
	if call == "commit" {
		op = "write" // in bbolt
		if d.number == unix.EIO {
			return fmt.Errorf("fdatasync: %w", d.number) // bbolt passes that on as it is
		}
	}
	return &fs.PathError{Op: op, Path: path, Err: d.number}
}

// TestEveryCallFails lets each call to the file system fail once, with the disk broken or full, and looks at the answers,
// at what the store does then, and at what is there when it is opened again.
func TestEveryCallFails(t *testing.T) {
	for _, number := range []unix.Errno{unix.EIO, unix.ENOSPC} {
		t.Run(number.Error(), func(t *testing.T) {
			const most = 500
			for n := 1; ; n++ {
				d := newFailing(n, number)
				tryFailing(t, d)
				if t.Failed() {
					t.Fatalf("call %d fails: %s", n, d.call)
				}
				if d.call == "" {
					if n < 20 {
						t.Errorf("only %d calls were there to fail", n)
					}
					return
				}
				if n == most {
					t.Fatalf("call %d is still there to fail", n)
				}
			}
		})
	}
}

const batches = 6 // of 3 tulips, over three segments of 8

func tryFailing(t *testing.T, d *failing) {
	t.Helper()
	dir := filepath.Join(quickDir(t), "store")
	defer os.RemoveAll(dir)
	s, err := Open(dir, Config{SegmentRows: 8, disk: d.disk})
	if err != nil {
		if d.call == "" {
			t.Fatal(err)
		}
		checkReopened(t, dir, nil) // the lock is free, and nothing is in the way
		return
	}
	confirmed := map[int]bool{}
	for b := range batches {
		putFailing(t, s, d, b, confirmed)
	}
	// What is confirmed can be recalled, whatever the disk does.
	got := map[string]bool{}
	for _, it := range holds(t, s, garden) {
		got[it.ID] = true
	}
	for k := range confirmed {
		if !got[tulipID(k)] {
			t.Errorf("%s was confirmed and cannot be recalled", tulipID(k))
		}
	}
	if len(got) != len(confirmed) {
		t.Errorf("%d were confirmed, %d can be recalled", len(confirmed), len(got))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	checkReopened(t, dir, confirmed)
}

// putFailing puts a batch, and a second time where the answer was that there is no room.
func putFailing(t *testing.T, s *Store, d *failing, batch int, confirmed map[int]bool) {
	t.Helper()
	failedBefore := s.failed != nil
	for range 2 {
		refused := false
		for i, err := range s.Put(t.Context(), tulips(3*batch+1, 3)) {
			if err == nil {
				confirmed[3*batch+1+i] = true
				continue
			}
			refused = true
			if store.ClassOf(err) != store.ClassUnavailable || !strings.Contains(err.Error(), s.dir) {
				t.Errorf("expected Unavailable with the directory in it, got %v: %v", store.ClassOf(err), err)
			}
		}
		if refused && d.call == "" {
			t.Error("refused, and nothing had failed")
		}
		if !refused && failedBefore {
			t.Error("stored after a failure")
		}
		if !refused {
			return
		}
	}
	roomOnly := d.number == unix.ENOSPC && (strings.HasPrefix(d.call, "write") || strings.HasPrefix(d.call, "open") || strings.HasPrefix(d.call, "commit"))
	if roomOnly {
		t.Errorf("there is room again, and the store does not go on: %v", s.failed)
	}
	if s.failed == nil {
		t.Error("the disk failed, and the store does not say so")
	}
	if d.synced > 1 { // a segment's two files are synced at once
		t.Errorf("%d more syncs after one failed", d.synced)
	}
}

func checkReopened(t *testing.T, dir string, confirmed map[int]bool) {
	t.Helper()
	s, err := Open(dir, Config{SegmentRows: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := map[string]bool{}
	for _, it := range holds(t, s, garden) {
		got[it.ID] = true
	}
	for k := range confirmed {
		if !got[tulipID(k)] {
			t.Errorf("%s was confirmed and is not there when opened again", tulipID(k))
		}
	}
	if n := s.Stats().Damaged; n != 0 {
		t.Errorf("%d rows count as damaged", n)
	}
	mustPut(t, s, tulips(1, 3*batches)...)
	wantTulips(t, s, 1, 3*batches)
}

// TestFailureIsSaid shows what an operator reads.
func TestFailureIsSaid(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	d := newFailing(-1, unix.EIO)
	s := open(t, dir, Config{disk: d.disk})
	mustPut(t, s, tulips(1, 3)...)
	d.left = 3 // the two writes, and the sync of one file
	for range 2 {
		err := s.Put(t.Context(), tulips(4, 1))[0]
		for _, part := range []string{"embedded store: sync ", dir, ".seg: ", "input/output error", "check the disk", "start the sidecar again"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q lacks %q", err, part)
			}
		}
		if !errors.Is(err, unix.EIO) {
			t.Errorf("%v does not wrap the cause", err)
		}
	}
	wantTulips(t, s, 1, 3)
}

// TestHalfWrittenIsCut gives back what a batch took for which there was no room, when a smaller one comes.
func TestHalfWrittenIsCut(t *testing.T) {
	d := newFailing(-1, unix.ENOSPC)
	s := open(t, quickDir(t), Config{SegmentRows: 16, disk: d.disk})
	mustPut(t, s, tulips(1, 10)...)
	d.left = 4 // two writes to the first segment, and the second to the next
	for _, err := range s.Put(t.Context(), tulips(11, 15)) {
		if store.ClassOf(err) != store.ClassUnavailable || !strings.Contains(err.Error(), "goes on by itself") {
			t.Fatalf("expected that there is no room, got %v", err)
		}
	}
	mustPut(t, s, tulips(11, 1)...)
	for _, seg := range s.segments {
		if size(t, seg.vectors.Name()) != s.layout.vectorAt(seg.committed) || size(t, seg.bodies.Name()) != seg.bodyEnd {
			t.Errorf("segment %d is longer than what is committed of it", seg.number+1)
		}
	}
	wantTulips(t, s, 1, 11)
}
