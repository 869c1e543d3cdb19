package embedded

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// manyTulips fills a store with more rows than one worker takes on.
func manyTulips(t *testing.T, s *Store, n int) {
	t.Helper()
	vectors := make([][]float32, 64)
	for i := range vectors {
		vectors[i] = storetest.Vector(uint64(i))
	}
	for first := 1; first <= n; first += 500 {
		batch := make([]wal.Record, 0, 500)
		for k := first; k < first+500 && k <= n; k++ {
			v := vectors[k%len(vectors)]
			v[k%store.Dimensions] += 0.01
			batch = append(batch, storetest.Record(wal.FormEpisode, uint64(k), garden, tulipID(k), "", v))
		}
		mustPut(t, s, batch...)
	}
}

// TestWorkersAgree gives the same answers however many workers there are.
func TestWorkersAgree(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	s := open(t, dir, Config{SegmentRows: 1024})
	const memories = manyRows + 1000
	manyTulips(t, s, memories)
	for seed := range uint64(5) {
		q := store.Query{Space: garden, Vector: storetest.Vector(seed), K: 50}
		var first store.Answer
		for i, workers := range []int{1, 2, 7} {
			s.cfg.Workers = workers
			answer, err := s.Recall(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = answer
			}
			if len(answer.Hits) != 50 || answer.Considered != memories || answer.Above != first.Above {
				t.Errorf("%d workers: %d hits, %d considered, %d above", workers, len(answer.Hits), answer.Considered, answer.Above)
			}
			for j := range answer.Hits {
				if answer.Hits[j].ID != first.Hits[j].ID || answer.Hits[j].Score != first.Hits[j].Score {
					t.Fatalf("%d workers: hit %d is %q with %v, one worker says %q with %v", workers, j,
						answer.Hits[j].ID, answer.Hits[j].Score, first.Hits[j].ID, first.Hits[j].Score)
				}
			}
		}
	}
}

// endsAfter is a context that ends when someone has looked at it so often.
type endsAfter struct {
	context.Context
	looks int
}

func (c *endsAfter) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

// TestRecallStops ends the context in the middle of the work, at every point where it is looked at.
func TestRecallStops(t *testing.T) {
	s := open(t, quickDir(t), Config{SegmentRows: 4096, Workers: 1})
	manyTulips(t, s, manyRows)
	q := store.Query{Space: garden, Vector: storetest.Vector(1), K: 3, Threshold: -1}
	for looks := 0; ; looks++ {
		ctx := &endsAfter{Context: t.Context(), looks: looks}
		answer, err := s.Recall(ctx, q)
		if err == nil {
			if looks < manyRows/chunkRows+3 || len(answer.Hits) != 3 {
				t.Errorf("the context is looked at %d times, %d hits", looks, len(answer.Hits))
			}
			return
		}
		if !errors.Is(err, context.Canceled) || len(answer.Hits) != 0 {
			t.Fatalf("after %d looks: %v", looks, err)
		}
	}
}

func TestRecallRefuses(t *testing.T) {
	s := open(t, quickDir(t), Config{})
	infinite := storetest.Vector(1)
	infinite[9] = float32(math.Inf(1))
	for _, row := range []struct {
		want string
		q    store.Query
	}{
		{"cue.semantic: expected its text as a vector", store.Query{Space: garden, K: 1, Text: "x"}},
		{"expected 768 dimensions, got 3", store.Query{Space: garden, K: 1, Vector: make([]float32, 3)}},
		{"max_results: expected 1 or more, got 0", store.Query{Space: garden, Vector: storetest.Vector(1)}},
		{"cue.embedding[9]: expected a finite number, got +Inf", store.Query{Space: garden, K: 1, Vector: infinite}},
	} {
		_, err := s.Recall(t.Context(), row.q)
		if store.ClassOf(err) != store.ClassPermanent || !strings.Contains(err.Error(), row.want) {
			t.Errorf("expected a permanent refusal with %q, got %v", row.want, err)
		}
	}
}

// TestBefore goes to the ends of time.
func TestBefore(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := open(t, quickDir(t), Config{now: func() time.Time { return now }})
	mustPut(t, s, tulips(1, 2)...)
	now = now.Add(time.Second)
	mustPut(t, s, tulips(3, 2)...)
	for _, row := range []struct {
		before time.Time
		want   int
	}{
		{time.Time{}, 4},
		{now.Add(1), 4},
		{now, 2},
		{now.Add(-time.Second), 0},
		{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 4},
		{time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), 0},
	} {
		answer, err := s.Recall(t.Context(), store.Query{Space: garden, Vector: storetest.Vector(1), K: 9, Threshold: -1, Before: row.before})
		if err != nil || len(answer.Hits) != row.want {
			t.Errorf("before %v: %d hits, expected %d; %v", row.before, len(answer.Hits), row.want, err)
		}
	}
}

// TestManyTies has more equal scores than are looked at: those stored first win, and the answer is always the same.
func TestManyTies(t *testing.T) {
	s := open(t, quickDir(t), Config{})
	var batch []wal.Record
	for k := range 1000 {
		// Ids in the other direction than rows.
		batch = append(batch, storetest.Record(wal.FormEpisode, uint64(k+1), garden, tulipID(9999-k), "", storetest.Vector(7)))
	}
	mustPut(t, s, batch...)
	answer, err := s.Recall(t.Context(), store.Query{Space: garden, Vector: storetest.Vector(7), K: 10})
	if err != nil || len(answer.Hits) != 10 {
		t.Fatalf("%d hits, %v", len(answer.Hits), err)
	}
	for i, h := range answer.Hits {
		if want := tulipID(9999 - (10 + tieLimit - 1) + i); h.ID != want {
			t.Errorf("hit %d is %q, expected %q", i, h.ID, want)
		}
	}
}

func TestVersions(t *testing.T) {
	s := open(t, quickDir(t), small())
	mustPut(t, s, tulips(1, 40)...)
	mustPut(t, s, tulip(7, 50), tulip(8, 3))
	got, err := s.Versions(t.Context(), garden, []string{tulipID(7), "rose", tulipID(8), tulipID(40)})
	if err != nil || !slices.Equal(got, []uint64{50, 0, 8, 40}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.Versions(t.Context(), "orchard", []string{tulipID(7)}); err != nil || got[0] != 0 {
		t.Errorf("in another space: %v, %v", got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Versions(ended, garden, []string{"rose"}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
