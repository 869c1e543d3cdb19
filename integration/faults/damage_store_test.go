package faults

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

const storedIn = 100 // memories in the embedded store that is damaged

// storeDamages are done to the files of an embedded store. What an index loses is made anew from the segments.
var storeDamages = []damage{
	{"a bit flipped in the vectors", true, on("store/vectors-*", flip)},
	{"a bit flipped in the bodies", true, on("store/bodies-*", flip)},
	{"a page of the vectors zeroed", true, on("store/vectors-*", zeroPage)},
	{"a page of the bodies zeroed", true, on("store/bodies-*", zeroPage)},
	{"the bodies cut short", true, on("store/bodies-*", cutShort)},
	{"the vectors cut short", true, on("store/vectors-*", cutShort)},
	{"a bit flipped in the index", false, on("store/index.db", flip)},
	{"a page of the index zeroed", false, on("store/index.db", zeroPage)},
	{"the index cut short", false, on("store/index.db", cutShort)},
	{"the index deleted", false, on("store/index.db", remove)},
	{"the FORMAT file zeroed", false, on("store/FORMAT", zeroPage)},
	{"the FORMAT file deleted", false, on("store/FORMAT", remove)},
}

// TestFaultDamagedStore damages the files of an embedded store whose sidecar is stopped. The start succeeds, what is
// recalled is what was observed, bit for bit, and an index costs nothing. (B1, B3, B4)
func TestFaultDamagedStore(t *testing.T) {
	random := newRandom(t)
	from := stoppedStore(t, func(sidecar *harness.Sidecar) {
		say := newSpeaker(t, sidecar, harness.NewOracle())
		for range storedIn {
			say.observe()
		}
	})
	checkStores(t, random, storeDamages, from, storedIn, func() []uint64 {
		all := make([]uint64, storedIn)
		for i := range all {
			all[i] = uint64(i) + 1
		}
		return all
	})
}

// stoppedStore makes a data directory whose embedded store has all that was observed.
func stoppedStore(t *testing.T, observe func(*harness.Sidecar)) (dir string) {
	t.Helper()
	sidecar := harness.NewSidecar(t, harness.Binary(t))
	sidecar.Dir = filepath.Join(t.TempDir(), "data")
	sidecar.Start()
	observe(sidecar)
	sidecar.Drained()
	if code := sidecar.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	return sidecar.Dir
}

// checkStores does each damage to copies of a directory, and looks for the memories that are picked.
func checkStores(t *testing.T, random *rand.Rand, damages []damage, from string, accepted uint64, pick func() []uint64) {
	t.Helper()
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			for range sized(2, 40) {
				d.checkStore(t, random, from, accepted, pick())
			}
		})
	}
}

// checkStore damages one copy. What is recalled is right, and only harm lets memories be missing.
func (d *damage) checkStore(t *testing.T, random *rand.Rand, from string, accepted uint64, memories []uint64) {
	t.Helper()
	sidecar := harness.NewSidecar(t, harness.Binary(t))
	sidecar.Dir = copyData(t, from)
	d.do(t, random, sidecar.Dir)
	sidecar.Start()
	var missing []uint64
	for _, n := range memories {
		if !recalledFirst(t, sidecar, n) {
			missing = append(missing, n)
		}
	}
	if b, err := sidecar.Balance(); err != nil || !b.Even() || b.Accepted != accepted {
		t.Errorf("balance %+v (%v), expected %d accepted", b, err, accepted)
	}
	switch {
	case len(missing) > 0 && !d.harmful:
		t.Errorf("memories %d are not recalled any more, expected none missing", missing)
	case len(missing) > 0:
		t.Logf("%d of %d memories are not recalled any more", len(missing), len(memories))
	}
	sidecar.Kill()
}

// copyData copies a data directory to one of its own.
func copyData(t *testing.T, from string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{dir, filepath.Join(dir, "store")} {
		if err := os.Chmod(private, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// recalledFirst says whether the speaker's n. observation is the first to be recalled by its own embedding. It fails where it is
// recalled with another.
func recalledFirst(t *testing.T, sidecar *harness.Sidecar, n uint64) bool {
	t.Helper()
	want := harness.EpisodeOf(harness.Observation{Session: "speaker", Sequence: n})
	answer, err := engramv1.NewEngramServiceClient(sidecar.Connect()).Recall(t.Context(), &engramv1.RecallRequest{
		MaxResults: 1, Cue: &engramv1.Cue{
			CueType: &engramv1.Cue_Embedding{Embedding: &engramv1.EmbeddingCue{Vector: want.GetEmbedding()}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, m := range answer.GetMemories() {
		if m.GetContent() != want.GetWhat() {
			continue // the next best, where the best is damaged
		}
		found = true
		for i, x := range m.GetEmbedding() {
			if x != want.GetEmbedding()[i] {
				t.Fatalf("memory %d is recalled with another embedding, at %d: %v, expected %v", n, i, x, want.GetEmbedding()[i])
			}
		}
	}
	return found
}
