//go:build !race

package proxy

import (
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// The race detector keeps functions from being inlined, and what is not inlined allocates: these counts are of the program
// that is built without it.

func TestObservationCostsOneAllocation(t *testing.T) {
	o := &observation{idText: "7f9c24e5-2f57-4f9b-8f0a-0d8c3f1a2b3c", space: "default", lane: wal.LaneNormal}
	o.s = &Server{cfg: Config{}.withDefaults()}
	message := encode(t, observationOf(1, episode("")))
	codec := newFrameCodec()
	if n := testing.AllocsPerRun(100, func() {
		if err := codec.Unmarshal(message, &o.in.frame); err != nil {
			t.Fatal(err)
		}
		o.scan(t)
		if err := o.judge(); err != nil {
			t.Fatal(err)
		}
		o.in.forget()
	}); n > 1 {
		t.Errorf("an observation costs %v allocations until it is appended, want 1, for its bytes", n)
	}
}
