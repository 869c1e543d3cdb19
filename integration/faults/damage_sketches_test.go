package faults

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// sketchedIn is as many memories as a space must hold to be searched by sketches, and some more.
const sketchedIn = 8192 + 100

// inUse is how much of a file of sketches these take: behind it is a hole.
const inUse = 64 + sketchedIn*800

// sketchDamages cost nothing, whatever they hit.
var sketchDamages = []damage{
	{"a bit flipped in the sketches", false, on("store/sketches-*", onlyInUse(flip))},
	{"a page of the sketches zeroed", false, on("store/sketches-*", onlyInUse(zeroPage))},
	{"the sketches cut short", false, on("store/sketches-*", onlyInUse(cutShort))},
	{"the sketches deleted", false, on("store/sketches-*", remove)},
}

// onlyInUse damages the part of a file that is no hole, and leaves it as long as it was, or cut.
func onlyInUse(do func(*testing.T, *rand.Rand, string)) func(*testing.T, *rand.Rand, string) {
	return func(t *testing.T, random *rand.Rand, path string) {
		st, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, inUse)
		}
		if err != nil {
			t.Fatal(err)
		}
		do(t, random, path)
		if now, err := os.Stat(path); err == nil && now.Size() == inUse {
			err = os.Truncate(path, st.Size())
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFaultDamagedSketches damages what the embedded store has only made to be quicker: everything is recalled, bit for bit,
// also when it is made anew. (B1, B3, B4)
func TestFaultDamagedSketches(t *testing.T) {
	random := newRandom(t)
	from := stoppedStore(t, func(sidecar *harness.Sidecar) {
		speakAtOnce(newSpeaker(t, sidecar, harness.NewOracle()), sketchedIn)
		sidecar.Drained()
		if !recalledFirst(t, sidecar, 1) { // which makes the sketches
			t.Fatal("the first observation is not recalled")
		}
	})
	if len(glob(t, from, "store/sketches-*")) == 0 {
		t.Skip("no sketches: this processor compares them no faster than vectors")
	}
	checkStores(t, random, sketchDamages, from, sketchedIn, func() []uint64 {
		some := make([]uint64, 20) // the first recall makes anew what is damaged
		for i := range some {
			some[i] = 1 + random.Uint64N(sketchedIn)
		}
		return some
	})
}

// speakAtOnce sends so many observations without waiting for the acks of those before, and returns when all are acked.
func speakAtOnce(p *speaker, count uint64) {
	p.t.Helper()
	go func() { // ends with the last one, or with the stream, which ends with the test
		for n := uint64(1); n <= count; n++ {
			if p.stream.Send(&engramv1.ObservationRequest{SequenceNumber: n, Operation: &engramv1.ObservationRequest_Observation{
				Observation: harness.EpisodeOf(harness.Observation{Session: p.name, Sequence: n}),
			}}) != nil {
				return
			}
		}
	}()
	for acked := uint64(0); acked < count; {
		if p.answer().GetAck().GetStatus() == engramv1.ObservationAck_STATUS_ACCEPTED { // others tell of pressure
			acked++
		}
	}
}
