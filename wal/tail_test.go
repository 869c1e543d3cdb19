package wal

import (
	"runtime"
	"testing"
)

// TestTheTailIsFound tells when another version of tidwall/wal names its fields otherwise: the journal would be as right as
// before, and allocate five times what it writes.
func TestTheTailIsFound(t *testing.T) {
	g, err := makeGeneration(t.TempDir(), testJournal, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.file.Close()
	defer g.log.Close()
	if g.tail.entries == nil {
		t.Fatal("tidwall.Log keeps its tail elsewhere: look at tailOf")
	}
	if err := g.log.Write(1, []byte("a frame")); err != nil {
		t.Fatal(err)
	}
	if got := string(*g.tail.entries); got != "\x07a frame" {
		t.Errorf("the tail is %q", got)
	}
	g.tail.forget()
	if len(*g.tail.entries) != 0 || g.tail.positions.Len() != 0 {
		t.Errorf("%d bytes and %d positions are left", len(*g.tail.entries), g.tail.positions.Len())
	}
}

// TestALogWithoutAKnownTailIsLeftAlone: nothing fails where the fields are not found.
func TestALogWithoutAKnownTailIsLeftAlone(t *testing.T) {
	var none, other tail
	none.reserve(1 << 20)
	none.forget()
	none.inherit(&other)
}

// TestAnAppendCopiesWithoutAllocating bounds what a record costs the collector. It counts bytes and not seconds: the frame
// lies in buffers that are used again, whatever the generation it ends in.
func TestAnAppendCopiesWithoutAllocating(t *testing.T) {
	const batch, batches = 64, 100
	j := open(t, Config{GenerationBytes: 1 << 20, MaxBytes: 1 << 40, ReserveBytes: 1})
	p := j.NewProducer()
	r := benchRecord()
	round := func() {
		for range batch {
			r.Time = 0
			if err := p.Append(&r); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.Wait(t.Context(), r.Index); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		round() // until the buffers are as large as they get
	}
	before := allocated()
	for range batches {
		round()
	}
	each := (allocated() - before) / (batch * batches)
	if each > 400 {
		t.Errorf("a record of %d bytes allocates %d: the segment's tail, the batch's buffers or the frame are not used again",
			benchPayload, each)
	}
}

// allocated is how many bytes the process has ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
