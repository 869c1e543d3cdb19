package wal

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestMoreGenerationsAreMadeWhileTheyAreUsedUpFast: each try of the keeper makes as many as are wanted.
func TestMoreGenerationsAreMadeWhileTheyAreUsedUpFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStock()
		fill := func() (made int) {
			made = s.wanted()
			s.put(make([]*generation, made), nil)
			for i := range s.gens {
				s.gens[i] = &generation{}
			}
			return made
		}
		if made := fill(); made != 1 {
			t.Fatalf("%d are made at the start", made)
		}
		var most int
		for range 40 {
			time.Sleep(100 * time.Millisecond)
			if g, err := s.take(); g == nil || err != nil {
				t.Fatal(g, err)
			}
			most = max(most, fill())
		}
		if most < mostAhead/2 || len(s.gens) > mostAhead {
			t.Errorf("in a hurry up to %d are made at a time, and %d are there", most, len(s.gens))
		}
		for range 20 {
			time.Sleep(time.Minute)
			if g, _ := s.take(); g == nil {
				t.Fatal("none is there")
			}
			fill()
		}
		if len(s.gens) != 1 {
			t.Errorf("%d are kept ready though nobody is in a hurry", len(s.gens))
		}
	})
}

func TestWhyThereIsNoGenerationIsSaidOnce(t *testing.T) {
	s, full := newStock(), errors.New("full")
	if g, err := s.take(); g != nil || err != nil {
		t.Fatal("before the first try there is nothing to say")
	}
	s.put(nil, full)
	if _, err := s.take(); !errors.Is(err, full) {
		t.Errorf("it says %v", err)
	}
	if _, err := s.take(); err != nil {
		t.Errorf("it says %v again: the keeper has tried no more since", err)
	}
	if s.wanted() != 1 {
		t.Error("the keeper does not try again")
	}
}

// TestWhatWasMadeAheadIsTakenAway: a closed journal leaves no generation behind that holds nothing.
func TestWhatWasMadeAheadIsTakenAway(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir, GenerationBytes: minGenerationBytes})
	j.stock.mu.Lock()
	j.stock.ahead = mostAhead
	j.stock.mu.Unlock()
	for n := range uint64(50) {
		put(t, j, 1, n+1, 8<<10)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range generationsOn(t, dir) {
		if info, err := os.Stat(SegmentPath(dir, n)); err != nil || info.Size() == 0 {
			t.Errorf("generation %d was left behind: %v", n, err)
		}
	}
}
