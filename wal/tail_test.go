package wal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	tidwall "github.com/tidwall/wal"
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

// TestTidwallDoesNotMissItsTail has one log written whose tail is taken away after each batch, and one that keeps it: nobody
// can tell them apart, not even by what is refused. Where another version of tidwall/wal looks at its tail for more than Read
// and the truncations, this fails.
func TestTidwallDoesNotMissItsTail(t *testing.T) {
	var kept, taken tidwallLog
	for _, l := range []*tidwallLog{&kept, &taken} {
		g, err := makeGeneration(t.TempDir(), testJournal, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = g.file.Close() })
		l.g, l.frames = g, map[uint64][]byte{}
	}
	next := uint64(1)
	for n := range uint64(40) {
		for _, l := range []*tidwallLog{&kept, &taken} {
			if err := l.write(next+1, n); !errors.Is(err, tidwall.ErrOutOfOrder) {
				t.Fatalf("a batch with a gap before it: %v", err)
			}
			if l == &taken {
				l.g.tail.reserve(1 << 10)
			}
			if err := errors.Join(l.write(next, n), l.g.log.Sync()); err != nil {
				t.Fatal(err)
			}
			if l == &taken {
				l.g.tail.forget()
			}
		}
		next += n%7 + 1
	}
	if a, b := kept.says(t), taken.says(t); a != b {
		t.Errorf("the log that keeps its tail says %s, the other one %s", a, b)
	}
	if a, b := kept.reopened(t), taken.reopened(t); !bytes.Equal(a, b) || len(a) == 0 {
		t.Errorf("the segments differ: %d bytes and %d", len(a), len(b))
	}
}

// tidwallLog is a generation's log with all that was written to it.
type tidwallLog struct {
	g      *generation
	frames map[uint64][]byte
}

// write writes a batch of 1 to 7 frames, of lengths that differ.
func (l *tidwallLog) write(index, n uint64) error {
	var b tidwall.Batch
	frames := map[uint64][]byte{}
	for i := range n%7 + 1 {
		frames[index+i] = fill(index+i, int((index+i)*37%5000))
		b.Write(index+i, frames[index+i])
	}
	err := l.g.log.WriteBatch(&b)
	if err == nil {
		maps.Copy(l.frames, frames)
	}
	return err
}

// says is what the log tells of itself, up to its end.
func (l *tidwallLog) says(t *testing.T) string {
	t.Helper()
	first, err1 := l.g.log.FirstIndex()
	last, err2 := l.g.log.LastIndex()
	empty, err3 := l.g.log.IsEmpty()
	closed, again := l.g.log.Close(), l.g.log.Close()
	return fmt.Sprint(first, err1, last, err2, empty, err3, closed, again)
}

// reopened reads all that was written from the segment, as another process would, and returns the segment.
func (l *tidwallLog) reopened(t *testing.T) []byte {
	t.Helper()
	log, err := tidwall.Open(filepath.Dir(l.g.path), &tidwall.Options{SegmentSize: math.MaxInt32, AllowEmpty: true})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for index, want := range l.frames {
		if got, err := log.Read(index); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("entry %d: %d bytes of %d, %v", index, len(got), len(want), err)
		}
	}
	segment, err := os.ReadFile(l.g.path)
	if err != nil {
		t.Fatal(err)
	}
	return segment
}

// TestFinishedGenerationsKeepNoTail: they may stand in the table for days.
func TestFinishedGenerationsKeepNoTail(t *testing.T) {
	j := open(t, Config{GenerationBytes: 64 << 10})
	for n := range uint64(40) {
		put(t, j, 1, n+1, 10_000)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(j.gens.table); n < 5 {
		t.Fatalf("%d generations: the test shows nothing", n)
	}
	for _, g := range j.gens.table[:len(j.gens.table)-1] {
		if g.tail.entries != nil || g.tail.positions.IsValid() {
			t.Errorf("generation %d keeps what tidwall remembers of it", g.number)
		}
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
