package embedded

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// witness sees every call to the file system, before and after it, and what of it would survive a power cut: a file's
// content as of its last sync, a name as of its directory's last sync. bbolt syncs its own file, which is taken as it is.
type witness struct {
	*disk
	dir  string
	seen func(step string)

	mu      sync.Mutex
	names   map[string]*shadow // as the process sees them
	durable map[string]*shadow // as the disk has them
}

// shadow is the synced content of a file; nil where the file is bbolt's.
type shadow struct{ synced []byte }

func newWitness(dir string) *witness {
	real := osDisk()
	w := &witness{dir: dir, names: map[string]*shadow{}, durable: map[string]*shadow{}, seen: func(string) {}}
	w.disk = &disk{
		open: func(path string) (*os.File, error) {
			w.step("before open", path)
			f, err := real.open(path)
			w.note(func() {
				if w.names[filepath.Base(path)] == nil {
					w.names[filepath.Base(path)] = &shadow{synced: []byte{}}
				}
			})
			w.step("after open", path)
			return f, err
		},
		write: func(f *os.File, b []byte, at int64) error {
			// In two halves, as a crash may leave it.
			if err := real.write(f, b[:len(b)/2], at); err != nil {
				return err
			}
			w.step("within write", f.Name())
			err := real.write(f, b[len(b)/2:], at+int64(len(b)/2))
			w.step("after write", f.Name())
			return err
		},
		sync: func(f *os.File) error {
			err := real.sync(f)
			w.note(func() {
				if s := w.names[filepath.Base(f.Name())]; s != nil {
					s.synced = contentOf(f.Name())
				}
			})
			w.step("after sync", f.Name())
			return err
		},
		cut: func(f *os.File, size int64) error {
			err := real.cut(f, size)
			w.step("after cut", f.Name())
			return err
		},
		rename: func(from, to string) error {
			err := real.rename(from, to)
			w.note(func() {
				s := w.names[filepath.Base(from)]
				if s == nil {
					s = &shadow{} // bbolt's
				}
				w.names[filepath.Base(to)] = s
				delete(w.names, filepath.Base(from))
			})
			w.step("after rename", to)
			return err
		},
		remove: func(path string) error {
			err := real.remove(path)
			w.note(func() { delete(w.names, filepath.Base(path)) })
			w.step("after remove", path)
			return err
		},
		syncDir: func(path string) error {
			err := real.syncDir(path)
			w.note(func() {
				if path == dir {
					w.durable = maps.Clone(w.names)
				}
			})
			w.step("after directory sync", path)
			return err
		},
		commit: func() error {
			w.step("before commit", indexName)
			return real.commit()
		},
	}
	return w
}

func (w *witness) note(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

func (w *witness) step(what, path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen(what + " " + filepath.Base(path))
}

func contentOf(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return b
}

// tail says what a power cut leaves of bytes that were written and not synced.
type tail func(b []byte)

var tails = map[string]tail{
	"nothing of them": nil,
	"zeros":           func(b []byte) { clear(b) },
	"some sectors": func(b []byte) {
		r := rand.New(rand.NewPCG(uint64(len(b)), 1))
		for i := 0; i < len(b); i += 512 {
			if r.IntN(2) == 0 {
				clear(b[i:min(i+512, len(b))])
			}
		}
	},
}

// image writes what a power cut at this moment would leave. Called with w.mu held.
func (w *witness) image(t *testing.T, to string, left tail) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, s := range w.durable {
		live := contentOf(filepath.Join(w.dir, name))
		b := live
		if s.synced != nil {
			b = append([]byte(nil), s.synced...)
			if left != nil && len(live) > len(b) {
				unsynced := append([]byte(nil), live[len(b):]...)
				left(unsynced)
				b = append(b, unsynced...)
			}
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrashAtEveryStep stops a store at each of its calls to the file system, once as a killed process leaves it and once as
// a power cut does, opens what is left, and looks for what was confirmed; then everything comes again, as from the journal.
func TestCrashAtEveryStep(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	w := newWitness(dir)
	var confirmed int // tulips 1 to confirmed
	steps := 0
	const all = 21 // over three segments
	w.seen = func(step string) {
		steps++
		name := fmt.Sprintf("%03d %s, %d confirmed", steps, step, confirmed)
		checkLeft(t, name+", killed", confirmed, all, func(to string) { copyDir(t, dir, to) })
		for kind, left := range tails {
			checkLeft(t, name+", power cut leaves "+kind, confirmed, all, func(to string) { w.image(t, to, left) })
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Config{SegmentRows: 8, disk: w.disk})
	for confirmed < all {
		mustPut(t, s, tulips(confirmed+1, 3)...)
		w.note(func() {
			confirmed += 3
			w.seen("after Put")
		})
	}
	if steps < 50 {
		t.Errorf("only %d steps were seen", steps)
	}
}

// checkLeft opens what a crash has left.
func checkLeft(t *testing.T, name string, confirmed, all int, leave func(to string)) {
	t.Helper()
	dir := quickDir(t)
	defer os.RemoveAll(dir)
	leave(dir)
	s, err := Open(dir, Config{SegmentRows: 8})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer s.Close()
	got := map[string]bool{}
	for _, it := range holds(t, s, garden) {
		if got[it.ID] {
			t.Errorf("%s: %s is there twice", name, it.ID)
		}
		got[it.ID] = true
	}
	for k := 1; k <= confirmed; k++ {
		if !got[tulipID(k)] {
			t.Errorf("%s: %s was confirmed and is lost", name, tulipID(k))
		}
	}
	if st := s.Stats(); st.Damaged != 0 {
		t.Errorf("%s: %d rows count as damaged: %v", name, st.Damaged, s.Damages())
	}
	mustPut(t, s, tulips(1, all)...)
	wantTulips(t, s, 1, all)
	if t.Failed() {
		t.Fatalf("%s: the first failing step", name)
	}
}

// TestKilledProcess kills a process that stores, again and again, and looks for what it said was stored.
func TestKilledProcess(t *testing.T) {
	if dir := os.Getenv("EMBEDDED_STORE_CHILD"); dir != "" {
		storeForEver(dir)
	}
	dir := filepath.Join(t.TempDir(), "store")
	confirmed := 0
	for run := range 12 {
		child, out := startChild(t, dir, confirmed+1)
		deadline := time.Now().Add(time.Duration(20+13*run) * time.Millisecond)
		for {
			var k int
			if _, err := fmt.Fscanln(out, &k); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Fatalf("run %d: the child said something else: %v", run, err)
				}
				break
			}
			confirmed = k
			if time.Now().After(deadline) {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = child.Wait() // it was killed
		s, err := Open(dir, small())
		if err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		unconfirmed := s.Count(garden) - confirmed
		if unconfirmed < 0 || s.Stats().Damaged != 0 {
			t.Errorf("run %d: %d were confirmed, %d are there, %d damaged", run, confirmed, s.Count(garden), s.Stats().Damaged)
		}
		wantTulips(t, s, 1, confirmed+unconfirmed)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("run %d: %d confirmed, %d beyond", run, confirmed, unconfirmed)
	}
}
