package wal

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// filled is a journal with several finished generations, and what it wrote.
func filled(t testing.TB, cfg Config) *Journal {
	t.Helper()
	cfg.GenerationBytes = minGenerationBytes
	j := open(t, cfg)
	for n := range uint64(80) {
		put(t, j, 1, n+1, 3000)
	}
	return j
}

// delivered is the tally of a generation that holds nothing but its head and delivered writes.
func delivered(g Generation) Tally {
	return Tally{Accepted: uint64(g.Records) - 1, Delivered: uint64(g.Records) - 1}
}

func TestReleaseGivesSpaceBack(t *testing.T) {
	dir := t.TempDir()
	j := filled(t, Config{Dir: dir})
	before := j.Stats()
	g := j.Generations()[1]
	if err := j.Release(t.Context(), g.Number, delivered(g)); err != nil {
		t.Fatal(err)
	}
	if got := generationsOn(t, dir); slices.Contains(got, g.Number) {
		t.Errorf("on disk are %v", got)
	}
	after := j.Stats()
	if after.Bytes >= before.Bytes || after.Free <= before.Free || after.Generations != before.Generations-1 {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	if err := j.Read([]uint64{g.First}, func(*Record) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := j.Read([]uint64{g.First - 1, g.First + uint64(g.Records)}, func(*Record) error { return nil }); err != nil {
		t.Errorf("its neighbours: %v", err)
	}
	if _, released := j.Totals(); released != delivered(g) {
		t.Errorf("%+v", released)
	}
	for n := range uint64(30) { // until the next head
		put(t, j, 1, 81+n, 3000)
	}
	gens := j.Generations()
	s, _ := scanDir(t, dir, gens[len(gens)-1].Number)
	want := []Span{{First: 1, Last: 1}, {First: 3, Last: s.Number - 1}}
	if s.Head.Released != delivered(g) || !slices.Equal(s.Head.Live, want) {
		t.Errorf("%+v, want live %v", s.Head, want)
	}
}

func TestReleaseRefuses(t *testing.T) {
	j := filled(t, Config{})
	gens := j.Generations()
	last := gens[len(gens)-1]
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name   string
		ctx    context.Context
		number uint64
		tally  Tally
		is     error
		says   string
	}{
		{"a pending write", t.Context(), 1, Tally{Accepted: 3, Delivered: 2}, nil, "1 of its writes are still pending"},
		{"one that is being written", t.Context(), last.Number, Tally{}, nil, "still being written"},
		{"one that never was", t.Context(), 99, Tally{}, ErrNotFound, "no such generation"},
		{"a caller that is gone", ended, 1, Tally{}, context.Canceled, "release generation 1"},
	} {
		err := j.Release(c.ctx, c.number, c.tally)
		if err == nil || !strings.Contains(err.Error(), c.says) || (c.is != nil && !errors.Is(err, c.is)) {
			t.Errorf("%s: %v, want it to say %q", c.name, err, c.says)
		}
	}
	if got := len(j.Generations()); got != len(gens) {
		t.Errorf("%d generations, want all %d", got, len(gens))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Release(t.Context(), 1, Tally{}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// Two that release the same generation at once must not count it twice.
func TestReleasedOnceIsCountedOnce(t *testing.T) {
	j := filled(t, Config{})
	want := Tally{}
	for _, g := range j.Generations() {
		if !g.Sealed {
			continue
		}
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = j.Release(t.Context(), g.Number, delivered(g)) })
		}
		wg.Wait()
		done := 0
		for _, err := range errs {
			if err == nil {
				done++
			} else if !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		}
		if want = want.Plus(delivered(g)); done != 1 {
			t.Errorf("%d calls released generation %d", done, g.Number)
		}
	}
	if _, released := j.Totals(); released != want {
		t.Errorf("released %+v, want %+v", released, want)
	}
}

// Releases do not put each other off.
func TestReleasesSideBySide(t *testing.T) {
	dir := t.TempDir()
	j := filled(t, Config{Dir: dir})
	var wg sync.WaitGroup
	for _, g := range j.Generations() {
		if g.Sealed {
			wg.Go(func() {
				if err := j.Release(t.Context(), g.Number, delivered(g)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if got := j.Generations(); len(got) != 1 {
		t.Errorf("%+v are left", got)
	}
}

// The next head is made while the released frame is on its way to the disk: it counts the generation as released, and does
// not name it as live.
func TestHeadBehindAReleaseUnderWay(t *testing.T) {
	dir := t.TempDir()
	var hold atomic.Bool
	held, goOn := make(chan struct{}), make(chan struct{})
	j := filled(t, Config{Dir: dir, OnCommit: func(*Commit) {
		if hold.CompareAndSwap(true, false) {
			held <- struct{}{}
			<-goOn
		}
	}})
	g := j.Generations()[1]
	p := j.NewProducer()
	small, large := write(2, 1, nil), write(2, 2, fill(2, minGenerationBytes))
	hold.Store(true)
	if err := p.Append(&small); err != nil {
		t.Fatal(err)
	}
	<-held
	released := make(chan error)
	go func() { released <- j.Release(t.Context(), g.Number, delivered(g)) }()
	eventually(t, "the released frame is in the next batch", func() bool { _, r := j.Totals(); return r == delivered(g) })
	if err := p.Append(&large); err != nil { // which ends the generation with that batch
		t.Fatal(err)
	}
	close(goOn)
	if err := <-released; err != nil {
		t.Fatal(err)
	}
	put(t, j, 2, 3, 10)
	gens := j.Generations()
	last := gens[len(gens)-1]
	s, _ := scanDir(t, dir, last.Number)
	if want := []Span{{First: 1, Last: 1}, {First: 3, Last: last.Number - 1}}; !slices.Equal(s.Head.Live, want) || s.Head.Released != delivered(g) {
		t.Errorf("%+v, want live %v", s.Head, want)
	}
}

// A crash between the released frame and the deletion: the frame is durable, the generation is still there, and a start
// counts it once and finishes the deletion.
func TestCrashBetweenReleasedFrameAndDeletion(t *testing.T) {
	dir := t.TempDir()
	var crashed string
	j := filled(t, Config{Dir: dir, OnCommit: func(c *Commit) {
		if c.Records[len(c.Records)-1].Kind == KindReleased {
			crashed = copyDir(t, dir)
		}
	}})
	g := j.Generations()[1]
	if err := j.Release(t.Context(), g.Number, delivered(g)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(SegmentPath(crashed, g.Number)); err != nil {
		t.Fatalf("when its frame became durable the generation was gone already: %v", err)
	}
	for start := range uint64(2) { // the second finds what the first has left
		f := recoverDir(t, crashed)
		if f.at.Accepted != 80+start || f.at.Released != delivered(g) {
			t.Errorf("accepted %d, released %+v, want %+v", f.at.Accepted, f.at.Released, delivered(g))
		}
		if slices.Contains(generationsOn(t, crashed), g.Number) {
			t.Error("the generation is still there")
		}
		j := openAt(t, Config{Dir: crashed}, f.at)
		put(t, j, 2, 1, 10) // so that a new head is on disk
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReleaseWhileOthersReadIt(t *testing.T) {
	j := filled(t, Config{})
	g := j.Generations()[0]
	indexes := make([]uint64, 0, g.Records)
	for i := range uint64(g.Records) {
		indexes = append(indexes, g.First+i)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				err := j.Read(indexes, func(*Record) error { return nil })
				if errors.Is(err, ErrNotFound) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	if err := j.Release(t.Context(), g.Number, delivered(g)); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func TestSettleMovesADeadLetter(t *testing.T) {
	dir := t.TempDir()
	j := filled(t, Config{Dir: dir})
	g := j.Generations()[0]
	tally := Tally{Accepted: uint64(g.Records) - 1, Dead: uint64(g.Records) - 1}
	if err := j.Release(t.Context(), g.Number, tally); err != nil {
		t.Fatal(err)
	}
	if err := j.Settle(t.Context(), 3, Dropped, true); err != nil {
		t.Fatal(err)
	}
	if err := j.Settle(t.Context(), 40, Delivered, false); err != nil { // its generation is still there to tell
		t.Fatal(err)
	}
	want := tally.Move(Dropped)
	if _, released := j.Totals(); released != want {
		t.Errorf("%+v, want %+v", released, want)
	}
	if err := j.Settle(t.Context(), 3, Dead, true); err == nil || !strings.Contains(err.Error(), "not dead") {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Settle(t.Context(), 3, Dropped, true); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	var settled []Settled
	for _, r := range recoverDir(t, dir).records {
		if r.Kind == KindSettled {
			s, err := DecodeSettled(r.Payload)
			if err != nil {
				t.Fatal(err)
			}
			settled = append(settled, s)
		}
	}
	if !slices.Equal(settled, []Settled{{Index: 3, Fate: Dropped}, {Index: 40, Fate: Delivered}}) {
		t.Errorf("%+v", settled)
	}
}
