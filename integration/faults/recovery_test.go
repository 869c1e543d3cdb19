package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// TestFaultKilledWhileStarting kills the start at its nth system call, and the next start at its nth again, for every n until
// a start gets through; the third start serves, and the oracle judges. What there is to recover is what a kill left: torn
// bytes, a ledger that lags behind, generations that are half made. CI takes every third n. (T2, T10, T14, B1)
func TestFaultKilledWhileStarting(t *testing.T) {
	needs(t, "strace")
	dir := filepath.Join(t.TempDir(), "data")
	r := newRig(t, harness.Binary(t), dir, 2)
	r.begin()
	r.start()
	step, through := sized(3, 1), 0
	for nth := 1 + r.random.IntN(step); through < 3; nth += step {
		r.pause(15*time.Millisecond, 60*time.Millisecond)
		r.sidecar.Kill()
		tear(t, dir, r.random.IntN(200))
		for range 2 {
			if r.startKilledAt(nth) {
				through++
			}
			r.faults++
		}
		r.start()
	}
	r.judge()
}

// startKilledAt starts the sidecar and kills it at its nth system call. It says whether it got through before.
func (r *rig) startKilledAt(nth int) bool {
	r.t.Helper()
	// strace counts for each thread: one processor keeps most of the start in one.
	r.sidecar.Wrap = []string{
		"env", "GOMAXPROCS=1", "strace", "-f", "-qq", "-o", "/dev/null",
		"-e", fmt.Sprintf("inject=openat,mkdirat,renameat,unlinkat,write,pwrite64,fsync,fdatasync,ftruncate,fallocate,flock,mmap,getdents64:signal=SIGKILL:when=%d", nth),
	}
	defer func() { r.sidecar.Wrap = nil }()
	ready := r.sidecar.TryStart()
	if ready {
		r.sidecar.Kill()
		return true
	}
	r.sidecar.ExitCode()
	return false
}

// tear adds what a torn write may leave to the newest segment that holds anything.
func tear(t *testing.T, dir string, bytes int) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "journal", "g*", "0*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := len(segments) - 1; i >= 0; i-- {
		if st, err := os.Stat(segments[i]); err != nil || st.Size() == 0 {
			continue
		}
		f, err := os.OpenFile(segments[i], os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(make([]byte, bytes)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
}
