package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
)

// putIn writes records of the spaces, in turn, so many that they fill several generations.
func putIn(t testing.TB, j *Journal, n, size int, space func(i int) string) (wrote []Record) {
	t.Helper()
	for i := range n {
		r := Record{Kind: KindWrite, Form: FormEpisode, Lane: LaneNormal, Space: space(i), ID: fmt.Append(nil, i), Payload: make([]byte, size)}
		if _, err := j.Write(context.Background(), &r); err != nil {
			t.Fatal(err)
		}
		wrote = append(wrote, r)
	}
	return wrote
}

// checkSpaces compares what MayHold says with what was written.
func checkSpaces(t *testing.T, j *Journal, wrote []Record, spaces ...string) (passedOver int) {
	t.Helper()
	for _, g := range j.Generations() {
		if g.Records == 0 {
			continue
		}
		for _, space := range spaces {
			holds := false
			for _, r := range wrote {
				holds = holds || (r.Space == space && r.Index >= g.First && r.Index < g.First+uint64(g.Records))
			}
			for _, index := range []uint64{g.First, g.First + uint64(g.Records) - 1} {
				first, may := j.MayHold(index, space)
				if holds && !may {
					t.Errorf("generation %d is said to hold nothing of %q", g.Number, space)
				}
				if first != g.First {
					t.Errorf("generation %d is said to begin at %d, not %d", g.Number, first, g.First)
				}
				if !may {
					passedOver++
				}
			}
		}
	}
	return passedOver
}

func TestMayHold(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, GenerationBytes: minGenerationBytes}
	j := openAt(t, cfg, fresh())
	// Ten generations or so: first one space, then two in turn, then a third.
	spaces := []string{"garden", "orchard", "meadow", "nowhere"}
	wrote := putIn(t, j, 120, 6000, func(i int) string { return spaces[(i/40)+(i/20)%2*(i/40)%2] })
	over := checkSpaces(t, j, wrote, spaces...)
	if n := len(j.Generations()); n < 6 || over < n {
		t.Errorf("%d times a space could be passed over in %d generations", over, n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// Anew: nothing is known of what the earlier run wrote, before somebody asks.
	again := openAt(t, cfg, recoverDir(t, dir).at)
	wrote = append(wrote, putIn(t, again, 3, 100, func(int) string { return "pond" })...)
	if got := checkSpaces(t, again, wrote, append(spaces, "pond")...); got < over {
		t.Errorf("after a new start %d times, before it %d", got, over)
	}
	if _, may := again.MayHold(again.Durable()+100, "garden"); !may {
		t.Error("what is not there yet is said to hold nothing")
	}
}

// TestMayHoldOfWhatCannotBeRead takes a segment away: then it may hold anything.
func TestMayHoldOfWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir}
	j := openAt(t, cfg, fresh())
	r := putIn(t, j, 1, 100, func(int) string { return "garden" })[0]
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again := openAt(t, cfg, recoverDir(t, dir).at)
	if err := os.Remove(again.find(r.Index).path); err != nil {
		t.Fatal(err)
	}
	if _, may := again.MayHold(r.Index, "meadow"); !may {
		t.Error("a generation that cannot be read is said to hold nothing")
	}
	if err := again.Read([]uint64{r.Index}, func(*Record) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("reading it gave %v", err)
	}
}

// BenchmarkMayHold asks for each of some generations: of this run, and of an earlier one, the first time and later.
func BenchmarkMayHold(b *testing.B) {
	dir := b.TempDir()
	cfg := Config{Dir: dir, MaxBytes: 1 << 40, ReserveBytes: 1}
	j := open(b, cfg)
	p := j.NewProducer()
	for range 20_000 {
		r := benchRecord()
		if err := p.Append(&r); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := p.Wait(b.Context(), j.Stats().NextIndex-1); err != nil {
		b.Fatal(err)
	}
	all := j.Generations()
	b.Run("known", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			j.MayHold(all[i%len(all)].First, "elsewhere")
		}
	})
	b.Run("learn", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			g := all[i%(len(all)-1)]
			if _, err := j.learn(j.find(g.First)); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(g.Records), "records")
		}
	})
}
