package recovery

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// hurt is a directory that needs everything Open can do: a damaged generation, a torn tail, a released one that is still
// there, one that was never used, a lost ledger, no FORMAT.
func hurt(t *testing.T) string {
	t.Helper()
	h, _ := lived(t)
	h.generation(1, h.lastOf(1)+1)
	dir := h.crash()
	s := scanned(t, dir, 4)
	flip(t, dir, 4, false, s.Base+2)
	newest := uint64(6)
	if len(segment(t, dir, newest)) == 0 {
		t.Fatal("generation 6 is not in use")
	}
	overwrite(t, dir, newest, func(b []byte) []byte { return b[:len(b)-7] })
	for _, n := range []uint64{3, 9} {
		path := wal.SegmentPath(JournalDir(dir), n)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "FORMAT")); err != nil {
		t.Fatal(err)
	}
	loseLedger(t, dir)
	return dir
}

func (h *opened) lastOf(n byte) uint64 {
	for _, s := range h.Ledger.Sessions() {
		if s.ID == id(n) {
			return s.Last
		}
	}
	return 0
}

// A start may be cut short behind any of its steps, and again; the one that goes through comes to the same.
func TestCrashAtEveryStepOfAStart(t *testing.T) {
	dir := hurt(t)
	whole := openDir(t, copyDir(t, dir))
	want, pending := whole.Ledger.Balance(), whole.indexes()
	if whole.Report.Torn == nil || len(whole.Report.Damages) == 0 || whole.Report.Ledger == nil || whole.Report.Removed < 2 {
		t.Fatalf("report %+v", whole.Report)
	}
	if n := generationsOn(t, whole.dir); slices.Contains(n, 3) || slices.Contains(n, 9) {
		t.Fatalf("generations %v", n)
	}
	errStop := errors.New("killed")
	var steps []step
	o := small(copyDir(t, dir))
	o.stop = func(s step) error { steps = append(steps, s); return nil }
	openWith(t, o)
	if len(steps) < 5 {
		t.Fatalf("steps %q", steps)
	}
	for _, first := range steps {
		for _, second := range steps {
			dir := copyDir(t, dir)
			for _, at := range []step{first, second} {
				o := small(dir)
				o.stop = func(s step) error {
					if s == at {
						return errStop
					}
					return nil
				}
				if _, err := Open(o); !errors.Is(err, errStop) {
					t.Fatalf("stop behind %q: %v", at, err)
				}
			}
			r := openDir(t, dir)
			r.balanced(want)
			if !slices.Equal(r.indexes(), pending) || r.session(1).Last != whole.session(1).Last || r.Report.Places() != whole.Report.Places() {
				t.Fatalf("after %q and %q: pending %v, want %v; session %+v; damages %v", first, second, r.indexes(), pending, r.session(1), r.Report.Damages)
			}
			r.close()
		}
	}
}

// Another process opens the directory and is gone before it has written anything; so does the next.
func TestProcessesThatDieRightAfterTheStart(t *testing.T) {
	dir := hurt(t)
	whole := openDir(t, copyDir(t, dir))
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), openAndDieEnv+"="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	r := openDir(t, dir)
	r.balanced(whole.Ledger.Balance())
	if !slices.Equal(r.indexes(), whole.indexes()) {
		t.Fatalf("pending %v, want %v", r.indexes(), whole.indexes())
	}
}

// Starts that nothing is written after leave nothing behind; and where a little is written after each, its generation goes
// when that is settled.
func TestRestartsDoNotPileUp(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	for range 20 {
		h = h.reopen()
	}
	if n := len(h.Journal.Generations()); n != 1 {
		t.Fatalf("%d generations after starts without a write", n)
	}
	for i := range uint64(20) {
		h.settle(1, wal.Delivered, h.write(1, i+1, 10))
		h = h.reopen()
		h.round()
	}
	if n := len(h.Journal.Generations()); n > 2 {
		t.Fatalf("%d generations after starts with a write each", n)
	}
	if n := len(generationsOn(t, h.dir)); n > 4 {
		t.Fatalf("%d directories of generations", n)
	}
	if s := h.lastOf(1); s != 20 {
		t.Fatalf("session at %d", s)
	}
	h.balanced(balance(20, 20, 0, 0))
}

// A deletion that a crash interrupted is finished, whatever it left.
func TestInterruptedDeletion(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	all := h.generation(1, 1)
	h.settle(1, wal.Delivered, all...)
	whole := segment(t, h.dir, 1)
	h.round()
	for name, left := range map[string]func(dir string) error{
		"all of it":     func(dir string) error { return os.WriteFile(wal.SegmentPath(JournalDir(dir), 1), whole, 0o600) },
		"the directory": func(string) error { return nil },
		"an empty file": func(dir string) error { return os.WriteFile(wal.SegmentPath(JournalDir(dir), 1), nil, 0o600) },
		"something else": func(dir string) error {
			return os.WriteFile(wal.SegmentPath(JournalDir(dir), 1)+".TEMP", whole[:9], 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := h.crash()
			if err := os.MkdirAll(wal.GenerationDir(JournalDir(dir), 1), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := left(dir); err != nil {
				t.Fatal(err)
			}
			r := openDir(t, dir)
			r.balanced(balance(uint64(len(all)), uint64(len(all)), 0, 0))
			if len(r.Report.Damages) != 0 || slices.Contains(generationsOn(t, dir), 1) || len(r.Pending) != 0 {
				t.Fatalf("report %+v, generations %v", r.Report, generationsOn(t, dir))
			}
		})
	}
}

// What does not belong into the journal's directory is left alone.
func TestStrayFiles(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	h.write(1, 1, 10)
	h.close()
	stray := []string{"notes.txt", "g1", "g0000000000000000000x", "g00000000000000000007"}
	for _, name := range stray {
		if err := os.WriteFile(filepath.Join(JournalDir(h.dir), name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := openDir(t, h.dir)
	r.balanced(balance(1, 0, 0, 0))
	for _, name := range stray {
		if _, err := os.Stat(filepath.Join(JournalDir(h.dir), name)); err != nil {
			t.Error(err)
		}
	}
}
