package faults

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/faults/faultfs"
	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// failure is a rule that makes one call fail: the nth of those that match. It is safe for use by many goroutines.
type failure struct {
	match func(op faultfs.Op, path string) bool
	nth   int
	errno syscall.Errno

	mu    sync.Mutex
	seen  int
	op    faultfs.Op
	path  string        // of the call that failed
	again int           // fsyncs of the same file after it
	fired chan struct{} // closed when it has failed
}

func newFailure(nth int, errno syscall.Errno, match func(faultfs.Op, string) bool) *failure {
	return &failure{match: match, nth: nth, errno: errno, fired: make(chan struct{})}
}

func (f *failure) rule(op faultfs.Op, path string) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path != "" {
		if op == faultfs.Fsync && path == f.path {
			f.again++
		}
		return 0
	}
	if !f.match(op, path) {
		return 0
	}
	if f.seen++; f.seen < f.nth {
		return 0
	}
	f.op, f.path = op, path
	close(f.fired)
	return f.errno
}

func (f *failure) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("call %d: %s %s: %v", f.nth, f.op, f.path, f.errno)
}

func (f *failure) fsyncsAfter() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.again
}

func anyFsync(op faultfs.Op, _ string) bool { return op == faultfs.Fsync }

func journalFsync(op faultfs.Op, path string) bool {
	return op == faultfs.Fsync && strings.Contains(path, "/journal/")
}

// TestFaultFsync fails the nth fsync of a file, from the first one of an empty directory on. The process ends with 74,
// asks that file nothing more, and what it has acked is there after a power cut: directly after it, or after the next
// start has read what the page cache alone still held. (T5, T6, T13, B9)
func TestFaultFsync(t *testing.T) {
	for nth := 1; nth <= sized(24, 200); nth++ {
		t.Run(fmt.Sprint(nth), func(t *testing.T) {
			s := newStrict(t, small)
			r := newRig(t, harness.Binary(t), s.dir(), 2)
			fail := newFailure(nth, syscall.EIO, anyFsync)
			s.fs.SetRule(fail.rule)
			r.begin()
			r.sidecar.Exec()
			r.endsWith74(fail)
			s.fs.SetRule(nil)
			if nth%2 == 0 {
				r.power(s, s.fs.Image(faultfs.Nothing))
			} else { // the kernel lives on, and shows bytes that are not on the disk
				r.start()
				img := s.fs.Image(faultfs.Nothing)
				r.power(s, img)
			}
			r.start()
			r.judge()
		})
	}
}

// endsWith74 waits for the failure, and for the end that has to come of it.
func (r *rig) endsWith74(fail *failure) {
	r.t.Helper()
	select {
	case <-fail.fired:
	case <-time.After(harness.Patience):
		r.t.Fatalf("no call failed within %v", harness.Patience)
	}
	began := time.Now()
	r.faults++
	if r.sealed(fail) {
		r.sidecar.Kill()
		return
	}
	code := r.sidecar.ExitCode()
	r.t.Logf("%v; ended with %d after %v", fail, code, time.Since(began).Round(time.Millisecond))
	if code != 74 {
		r.t.Errorf("%v: exit code %d, expected 74", fail, code)
	}
	if n := fail.fsyncsAfter(); n != 0 {
		r.t.Errorf("%v: %d further fsyncs of that file, expected none", fail, n)
	}
}

// sealed says whether what failed was the fsync at the close of a generation that was synced to its end before: nothing
// that comes later rests on that file, and the sidecar says so and goes on.
func (r *rig) sealed(fail *failure) bool {
	r.t.Helper()
	said := false
	for range 1000 {
		select {
		case <-r.sidecar.Ended():
			return false
		case <-time.After(10 * time.Millisecond):
		}
		if said {
			r.t.Logf("%v: at the close of a finished generation; it goes on", fail)
			return true
		}
		said = strings.Contains(r.sidecar.Log.String(), "closing a finished generation") // and then a moment for it to end
	}
	return false
}

// TestFaultCatchesRetriedFsync shows that asking again after a failed fsync, and believing the answer, is found out.
func TestFaultCatchesRetriedFsync(t *testing.T) {
	s := newStrict(t, small)
	r := newRig(t, harness.Binary(t, faultRetrySync), s.dir(), 2)
	r.store.Stop() // what has gone on to the store is not lost
	r.begin()
	for round := range 10 {
		r.start()
		fail := newFailure(3+round, syscall.EIO, journalFsync)
		s.fs.SetRule(fail.rule)
		<-fail.fired
		r.pause(50*time.Millisecond, 100*time.Millisecond)
		r.epoch.Shut()
		r.power(s, s.fs.Image(faultfs.Nothing))
		r.epoch.Begin()
		r.start()
		if r.pause(50*time.Millisecond, 100*time.Millisecond); r.broken(harness.ResumeInRange, harness.AckedIsStored) && r.oracle.Broken() {
			return
		}
		r.sidecar.Kill()
	}
	t.Errorf("a build with %s passed %d failing fsyncs", faultRetrySync, r.faults)
}
