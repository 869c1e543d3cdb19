package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/faults/faultfs"
	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// The build tags of sidecars that break one promise each.
const (
	faultNoSync        = "fault_no_sync"         // acks what only the page cache holds
	faultAckBeforeSync = "fault_ack_before_sync" // acks what only memory holds
	faultNoDirSync     = "fault_no_dirsync"      // acks what stands in a file without a name
	faultRetrySync     = "fault_retry_sync"      // asks again after a failed fsync
	faultNoDedupe      = "fault_no_dedupe"       // gives every delivery a memory id of its own
	faultNoTailRepair  = "fault_no_tail_repair"  // leaves torn tails where they are
)

// keeps are the shares of what is unsynced that a cut keeps, in percent.
var keeps = []int{0, 25, 50, 75, 100}

// TestFaultReorderedCut takes the power away from a disk that keeps any subset of the blocks and names that were not
// synced. (T2, T3, T4, T9, T17, B1, B2, B9)
func TestFaultReorderedCut(t *testing.T) {
	for _, percent := range keeps {
		t.Run(fmt.Sprintf("%d%%", percent), func(t *testing.T) {
			t.Parallel()
			r, s := newReordered(t, small)
			for range sized(6, 200) {
				r.cutStrict(s, percent)
			}
			r.start()
			r.judge()
		})
	}
}

// newReordered is a rig on a strict disk.
func newReordered(t testing.TB, room faultfs.Room, tags ...string) (*rig, *strict) {
	t.Helper()
	s := newStrict(t, room)
	r := newRig(t, harness.Binary(t, tags...), s.dir(), 4)
	r.begin()
	return r, s
}

// cutStrict is one life of the sidecar, which a power cut ends: in one of three at a random moment, in one of three at a
// random call, and in one at a call while it starts. What it does in the dark fails, so that every ack it sent still counts.
func (r *rig) cutStrict(s *strict, percent int) {
	r.t.Helper()
	if !r.tryCutStrict(s, percent) {
		r.t.Fatal("a start was refused")
	}
}

// tryCutStrict is cutStrict; false where the sidecar would not start.
func (r *rig) tryCutStrict(s *strict, percent int) bool {
	r.t.Helper()
	way := r.random.IntN(3)
	if way > 0 && r.refuses() {
		return false
	}
	calls, most := 0, 1+r.random.IntN(60)
	image := s.fs.Cut(func(op faultfs.Op, path string) bool {
		if way == 2 && (op != faultfs.Fsync || !strings.Contains(path, "/journal/")) {
			return false // between the write of a batch and its fsync: what remains of it is a torn tail
		}
		calls++
		return calls >= most
	}, chance(r.random, percent))
	if way == 0 {
		r.sidecar.Exec()
	}
	select {
	case img := <-image:
		r.power(s, img)
	case <-time.After(time.Duration(50+r.random.IntN(200)) * time.Millisecond):
		r.epoch.Shut()
		r.power(s, s.fs.Image(chance(r.random, percent)))
		r.epoch.Begin()
	}
	return true
}

// refuses starts the sidecar and says whether it calls the directory damaged and ends.
func (r *rig) refuses() bool {
	r.t.Helper()
	if r.sidecar.TryStart() {
		return false
	}
	if code := r.sidecar.ExitCode(); code != 74 {
		r.t.Fatalf("a start ended with code %d, expected 74 where the directory is refused", code)
	}
	r.t.Logf("a start was refused after %d faults", r.faults)
	return true
}

// power ends the process, and brings img up in the place of the disk it had.
func (r *rig) power(s *strict, img *faultfs.Image) {
	r.t.Helper()
	r.sidecar.Kill()
	s.restore(img)
	r.faults++
}

// TestFaultCatches shows that each of the six broken builds is found out by what runs in CI. A start that is refused finds one
// out, too: after the same cuts a sound build starts.
func TestFaultCatches(t *testing.T) {
	cases := []struct {
		tag        string
		percent    int
		invariants []string
	}{
		{faultNoSync, 0, []string{harness.AckedIsStored, harness.ResumeInRange}},
		{faultAckBeforeSync, 0, []string{harness.AckedIsStored, harness.ResumeInRange}},
		{faultNoDirSync, 0, []string{harness.AckedIsStored, harness.ResumeInRange}},
		{faultNoDedupe, 0, []string{harness.StoredOnce}},
	}
	for _, c := range cases {
		t.Run(c.tag, func(t *testing.T) {
			t.Parallel()
			r, s := newReordered(t, small, c.tag)
			for range sized(25, 50) {
				if !r.tryCutStrict(s, c.percent) || (r.oracle.Broken() && r.broken(c.invariants...)) {
					return
				}
			}
			t.Errorf("a build with %s passed %d cuts: violations %v, expected one of %q",
				c.tag, r.faults, r.oracle.Judge().Violations, c.invariants)
		})
	}
	t.Run(faultNoTailRepair, func(t *testing.T) {
		t.Parallel()
		r, s := newReordered(t, large, faultNoTailRepair)
		r.store.Stop() // else what is torn is delivered, and its generation gone, before the next start looks
		for range sized(25, 50) {
			if !r.tryCutStrict(s, 50) || r.refuses() { // what was left behind a tail ends in the next generation's indexes
				return
			}
			if st, err := r.sidecar.Status(); err == nil && len(st.Recovery.Damages) > 0 {
				t.Logf("caught after %d faults: damage is told where there is none: %+v", r.faults, st.Recovery.Damages)
				return
			}
			r.sidecar.Kill()
		}
		t.Errorf("a build with %s passed %d cuts", faultNoTailRepair, r.faults)
	})
}
