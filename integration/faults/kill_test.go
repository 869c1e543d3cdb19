package faults

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// TestFaultKilledWithBacklog kills the sidecar again and again with 64 MB of journal and the store away, and lets the oracle
// judge when the store is back. At night every start has to be ready within a second.
func TestFaultKilledWithBacklog(t *testing.T) {
	const journal = 64 << 20
	dir := filepath.Join(t.TempDir(), "data")
	r := newRig(t, harness.Binary(t), dir, 4, "--journal-max-bytes=80MiB") // not much more than that
	r.store.Stop()
	r.begin()
	r.start()
	r.sidecar.Await("64 MB of journal", func() (bool, error) {
		status, err := r.sidecar.Status()
		return err == nil && status.Journal.Bytes >= journal, err
	})
	r.ready = nil
	for range sized(10, 300) {
		r.sidecar.Kill()
		r.faults++
		r.start()
		r.pause(0, 50*time.Millisecond)
	}
	for _, took := range r.ready {
		if sized(0, 1) == 1 && took > time.Second {
			t.Errorf("ready %v after the start, expected within 1 s", took)
		}
	}
	r.store.Start()
	r.judge()
}
