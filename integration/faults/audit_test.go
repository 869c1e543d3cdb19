package faults

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/faults/faultfs"
	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// moment is what was promised when an image was taken.
type moment struct {
	acked  uint64
	stored map[harness.Observation]bool // on the other machine, before
	image  *faultfs.Image
}

// TestFaultDirectoryAudit takes an image of what is durable right after acks, across rotations and releases of generations,
// and starts the sidecar from each: every acked observation is delivered, from the image or before. (T4, T9)
func TestFaultDirectoryAudit(t *testing.T) {
	s := newStrict(t, tiny)
	oracle := harness.NewOracle()
	store := harness.NewEngram(t, oracle)
	store.Arrived = map[harness.Observation]bool{}
	sidecar := harness.NewSidecar(t, harness.Binary(t), "--store", "engram://"+store.Address)
	sidecar.Dir = s.dir()
	sidecar.Start()
	say := newSpeaker(t, sidecar, oracle)
	lost, images, before, rotations := 0, 0, 0, 0
	for phase := range sized(6, 12) {
		store.Stop() // what is acked now is in the journal and nowhere else
		stored := store.Holds()
		var moments []moment
		for n := range 60 {
			say.observe()
			if n%sized(5, 1) == phase%sized(5, 1) {
				moments = append(moments, moment{say.acked, stored, s.fs.Image(faultfs.Nothing)})
			}
		}
		status, err := sidecar.Status()
		if err != nil {
			t.Fatal(err)
		}
		rotations += status.Journal.Generations - before
		store.Start()
		sidecar.Drained()
		sidecar.Await("the release of all generations but the newest", func() (bool, error) {
			status, err := sidecar.Status()
			return err == nil && status.Journal.Generations <= 1, err
		})
		before = 1
		for _, m := range moments {
			images++
			lost += m.lost(t)
		}
	}
	t.Logf("%d images over %d acks and %d rotations: %d acked observations lost", images, say.acked, rotations, lost)
	if lost != 0 {
		t.Errorf("%d acked observations lost in %d images, expected none", lost, images)
	}
	sidecar.Kill()
}

// lost starts a sidecar from the image and counts the acked observations that are neither in it nor in the store.
func (m *moment) lost(t *testing.T) (count int) {
	t.Helper()
	dir := t.TempDir()
	if err := m.image.WriteTo(dir); err != nil {
		t.Fatal(err)
	}
	store := harness.NewEngram(t, nil)
	store.Arrived = map[harness.Observation]bool{}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil { // it may have been lost with all that was in it
		t.Fatal(err)
	}
	sidecar := harness.NewSidecar(t, harness.Binary(t), "--store", "engram://"+store.Address)
	sidecar.Dir = data
	sidecar.Start()
	sidecar.Drained()
	sidecar.Kill()
	delivered := store.Holds()
	store.Stop()
	for sequence := uint64(1); sequence <= m.acked; sequence++ {
		of := harness.Observation{Session: "speaker", Sequence: sequence}
		if !delivered[of] && !m.stored[of] {
			count++
		}
	}
	return count
}
