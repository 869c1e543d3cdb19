package wal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// tidwall/wal has no seam for a file system that fails, so these tests change what its open descriptor leads to: /dev/null
// takes a write and refuses an fsync, opened for reading it refuses a write too, and /dev/full has no room.

// replaceDescriptors makes those of this process's descriptors that lead to the segment lead to device: tidwall's, and
// with both the journal's own.
func replaceDescriptors(t *testing.T, j *Journal, device string, flags int, both bool) {
	t.Helper()
	j.gens.RLock()
	g := j.gens.table[len(j.gens.table)-1]
	own := int(g.file.Fd())
	j.gens.RUnlock()
	to, err := unix.Open(device, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(to)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	replaced := 0
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || (fd == own && !both) {
			continue
		}
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || name != g.path {
			continue
		}
		if err := unix.Dup3(to, fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		replaced++
	}
	if want := map[bool]int{false: 1, true: 2}[both]; replaced != want {
		t.Fatalf("%d descriptors lead to %s, want %d", replaced, g.path, want)
	}
}

// eventually waits until cond holds, and fails the test when that takes absurdly long.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range 15_000 {
		if cond() {
			return
		}
		<-tick.C
	}
	t.Fatalf("waited in vain: %s", what)
}

// A write or an fsync that fails leaves no certainty: everyone is told, nothing is acked any more, and nothing hangs.
func TestStorageFailureEndsTheJournal(t *testing.T) {
	for _, c := range []struct {
		name   string
		device string
		flags  int
		both   bool // the roll-back of the journal's own descriptor fails too
		says   string
	}{
		{"write fails", "/dev/null", unix.O_RDONLY, false, "bad file descriptor"},
		{"fsync fails", "/dev/null", unix.O_RDWR, false, "fsync failed"},
		{"no room, and what was written cannot be taken back", "/dev/full", unix.O_RDWR, true, "cut "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var commits atomic.Uint64
			j := open(t, Config{Dir: dir, OnCommit: func(*Commit) { commits.Add(1) }})
			good := put(t, j, 1, 1, 100)
			before := readSegmentFile(t, dir, 1)
			replaceDescriptors(t, j, c.device, c.flags, c.both)
			told, syncs := commits.Load(), j.Stats().Syncs

			var wg sync.WaitGroup
			for s := range byte(4) {
				wg.Go(func() { failingStream(t, j, s) })
			}
			wg.Wait()
			checkFailed(t, j, c.says)
			if commits.Load() != told || j.Durable() != good.Index || j.Stats().Syncs != syncs {
				t.Errorf("%d commits after the failure, durable %d", commits.Load()-told, j.Durable())
			}
			f := recoverDir(t, dir)
			if after := readSegmentFile(t, dir, 1); string(before) != string(after) || len(f.records) != 2 {
				t.Errorf("on disk are %d records, %d bytes, want 2 and %d", len(f.records), len(after), len(before))
			}
		})
	}
}

// failingStream appends until it is refused, and wants every record of it refused.
func failingStream(t *testing.T, j *Journal, s byte) {
	p := j.NewProducer()
	for n := range uint64(3) {
		r := write(s, n+1, fill(n, 100))
		if err := p.Append(&r); err != nil {
			if !errors.Is(err, ErrFailed) {
				t.Error(err)
			}
			break
		}
		if _, err := p.Wait(t.Context(), r.Index); !errors.Is(err, ErrFailed) {
			t.Errorf("index %d: %v", r.Index, err)
		}
	}
	if index, _ := p.Durable(); index != 0 {
		t.Errorf("index %d was acked", index)
	}
	p.Reset() // is no way back
	if err := p.Append(&Record{Kind: KindWrite}); !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
}

// checkFailed wants a journal that has failed to say so wherever it is asked, now and after its close.
func checkFailed(t *testing.T, j *Journal, says string) {
	t.Helper()
	eventually(t, "Failed is closed", func() bool {
		select {
		case <-j.Failed():
			return true
		default:
			return false
		}
	})
	for _, err := range []error{j.Err(), j.Stats().Err, j.Close(), j.Close(), j.Err()} {
		if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "the process must end") {
			t.Errorf("%v, want it to say %q", err, says)
		}
	}
	if _, err := j.Write(t.Context(), &Record{Kind: KindWrite}); !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
	if err := j.Release(t.Context(), 1, Tally{}); !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
}

// A journal that fails while it closes says so, and does not hang.
func TestFailureWhileClosing(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{})
	var once sync.Once
	j := open(t, Config{OnCommit: func(*Commit) {
		once.Do(func() {
			close(held)
			<-hold
		})
	}})
	p := j.NewProducer()
	first := write(1, 1, nil)
	if err := p.Append(&first); err != nil {
		t.Fatal(err)
	}
	<-held
	second := write(1, 2, nil)
	if err := p.Append(&second); err != nil {
		t.Fatal(err)
	}
	replaceDescriptors(t, j, "/dev/null", unix.O_RDWR, false)
	closed := make(chan error)
	go func() { closed <- j.Close() }()
	eventually(t, "Close takes effect", func() bool { return errors.Is(j.Err(), ErrClosed) })
	close(hold)
	if err := <-closed; !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
	if index, _ := p.Durable(); index != first.Index || !errors.Is(p.Err(), ErrFailed) {
		t.Errorf("durable %d, %v", index, p.Err())
	}
}

// The keeper cannot make the next generation, and not for want of room: the journal fails before it is needed, so that
// nobody goes on for hours on the last file.
func TestKeeperFailureEndsTheJournal(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "journal")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	j := open(t, Config{Dir: dir, GenerationBytes: minGenerationBytes})
	put(t, j, 1, 1, 10)
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for n := uint64(2); ; n++ { // as long as there is room in what the keeper had ready
		r := write(1, n, fill(n, 3000))
		if _, err := j.Write(t.Context(), &r); errors.Is(err, ErrFailed) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	checkFailed(t, j, "make generation")
}

// The keeper fails while the committer waits for it.
func TestNextGenerationEndsWithTheKeeper(t *testing.T) {
	at := fresh()
	j, err := newJournal(Config{Dir: t.TempDir()}.withDefaults(), &at) // whose goroutines do not run
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		_, err := j.nextGeneration()
		got <- err
	}()
	j.fail(unix.EIO)
	if err := <-got; !errors.Is(err, ErrFailed) || !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
	if g := j.waitForRoom(); g != nil {
		t.Error("a failed journal finds room")
	}
}

// Nothing is asked of a file that may have failed, not even to be closed in good order: tidwall's Close would sync it.
func TestNoFurtherCallOnAFailedFile(t *testing.T) {
	var log bytes.Buffer
	j := open(t, Config{Logger: hclog.New(&hclog.LoggerOptions{Output: &log})})
	put(t, j, 1, 1, 10)
	replaceDescriptors(t, j, "/dev/null", unix.O_RDWR, false) // an fsync of it would fail, and be logged
	j.fail(unix.EIO)
	if err := j.Close(); !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
	if log.Len() != 0 {
		t.Error(log.String())
	}
}
