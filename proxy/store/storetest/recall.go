package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// cosine is what a score should be.
func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

// closeEnough is how far a float32 score may be from the true one.
const closeEnough = 1e-5

// recall asks, and checks what holds for every answer.
func (s *subject) recall(t *testing.T, q store.Query) []store.Hit {
	t.Helper()
	answer, err := s.Store.Recall(t.Context(), q)
	if err != nil {
		t.Fatalf("recall: %v", err)
	}
	seen := map[string]bool{}
	for i, h := range answer.Hits {
		if seen[h.ID] {
			t.Errorf("%q is in the answer twice", h.ID)
		}
		seen[h.ID] = true
		if h.HasScore && i > 0 && h.Score > answer.Hits[i-1].Score {
			t.Errorf("hit %d scores %v, the one before it %v", i, h.Score, answer.Hits[i-1].Score)
		}
		if h.HasScore && h.Score < q.Threshold {
			t.Errorf("hit %d scores %v, below the threshold of %v", i, h.Score, q.Threshold)
		}
	}
	if len(answer.Hits) > q.K {
		t.Errorf("%d hits for %d", len(answer.Hits), q.K)
	}
	return answer.Hits
}

func testRecallExact(t *testing.T, s *subject) {
	if !s.Exact {
		return
	}
	const memories = 600
	vectors := map[string][]float32{}
	var batch []wal.Record
	for i := range memories {
		s.index++
		id := fmt.Sprintf("m-%03d", i)
		vectors[id] = Vector(s.index)
		batch = append(batch, Record(wal.FormEpisode+wal.Form(i%3), s.index, space, id, "", vectors[id]))
	}
	for part := range slices.Chunk(batch, 64) {
		s.mustPut(t, part...)
	}
	for i := range uint64(20) {
		for _, q := range []store.Query{
			{Space: space, Vector: Vector(1e6 + i), K: 10, Threshold: -1},
			{Space: space, Vector: Vector(1 + i*17), K: 10, Threshold: 0.03},
			{Space: space, Vector: Vector(1e6 + i), K: memories + 5},
		} {
			compareWithAll(t, s.recall(t, q), q, vectors)
		}
	}
}

// compareWithAll finds the hits by comparing with everything. Neighbours whose true scores are as good as equal may change
// places.
func compareWithAll(t *testing.T, hits []store.Hit, q store.Query, vectors map[string][]float32) {
	t.Helper()
	var scores []float64
	for _, v := range vectors {
		if score := cosine(q.Vector, v); score >= float64(q.Threshold) {
			scores = append(scores, score)
		}
	}
	slices.SortFunc(scores, func(a, b float64) int { return cmp.Compare(b, a) })
	if want := min(q.K, len(scores)); len(hits) != want {
		t.Fatalf("%d hits, expected %d", len(hits), want)
	}
	for i, h := range hits {
		if vectors[h.ID] == nil {
			t.Fatalf("hit %d is %q, which does not meet the query", i, h.ID)
		}
		if math.Abs(cosine(q.Vector, vectors[h.ID])-scores[i]) > closeEnough {
			t.Fatalf("hit %d is %q with a true score of %v, expected one with %v", i, h.ID, cosine(q.Vector, vectors[h.ID]), scores[i])
		}
		if !h.HasScore || math.Abs(float64(h.Score)-scores[i]) > closeEnough {
			t.Fatalf("hit %d (%q) scores %v, expected %v", i, h.ID, h.Score, scores[i])
		}
	}
}

func testRecallReplaced(t *testing.T, s *subject) {
	if !s.Exact {
		return
	}
	a := s.next(space, "rose", "bud")
	b := s.next(space, "rose", "open")
	c := s.next(space, "iris", "open")
	s.mustPut(t, a, c)
	s.mustPut(t, b)
	hits := s.recall(t, store.Query{Space: space, Vector: Vector(a.Index), K: 10, Threshold: -1})
	if len(hits) != 2 {
		t.Fatalf("%d hits, expected 2", len(hits))
	}
	for _, h := range hits {
		if h.Score > 0.5 {
			t.Errorf("%q scores %v with the vector of a replaced version", h.ID, h.Score)
		}
		if want := map[string][]byte{"rose": b.Payload, "iris": c.Payload}[h.ID]; !slices.Equal(h.Body, want) {
			t.Errorf("the body of %q is not what was put", h.ID)
		}
	}
}

func testRecallTies(t *testing.T, s *subject) {
	if !s.Exact {
		return
	}
	var batch []wal.Record
	for i := range 40 {
		s.index++
		batch = append(batch, Record(wal.FormEpisode, s.index, space, fmt.Sprintf("t-%02d", (i*7)%40), "same", Vector(3)))
	}
	s.index++
	zero := Record(wal.FormEpisode, s.index, space, "zero", "no direction", make([]float32, store.Dimensions))
	s.mustPut(t, append(batch, zero)...)
	hits := s.recall(t, store.Query{Space: space, Vector: Vector(3), K: 5})
	for i, h := range hits {
		if want := fmt.Sprintf("t-%02d", i); h.ID != want {
			t.Errorf("hit %d is %q, expected %q", i, h.ID, want)
		}
	}
	if all := s.recall(t, store.Query{Space: space, Vector: Vector(3), K: 100}); len(all) != 41 || all[40].ID != "zero" || all[40].Score != 0 {
		t.Errorf("expected 41 hits and the vector of zeros last, with score 0, got %d", len(all))
	}
}

func testRecallBefore(t *testing.T, s *subject) {
	if caps := s.Store.Capabilities(); !caps.CommitTimes || !caps.Can(store.CueEmbedding) {
		return
	}
	records, _ := s.several(space, 3)
	start := time.Now()
	for i := range records {
		s.mustPut(t, records[i])
		waitForClock(time.Now())
	}
	q := store.Query{Space: space, Vector: Vector(1), K: 10, Threshold: -1}
	all := s.recall(t, q)
	if len(all) != 3 {
		t.Fatalf("%d hits, expected 3", len(all))
	}
	slices.SortFunc(all, func(a, b store.Hit) int { return a.CommittedAt.Compare(b.CommittedAt) })
	for i, h := range all {
		if h.ID != string(records[i].ID) || h.CommittedAt.Before(start) || h.CommittedAt.After(time.Now()) {
			t.Errorf("%q was committed at %v, between %v and now as number %d", h.ID, h.CommittedAt, start, i)
		}
		q.Before = h.CommittedAt
		if got := s.recall(t, q); len(got) != i {
			t.Errorf("%d hits before the commit of number %d", len(got), i)
		}
	}
}

// waitForClock returns when the wall clock shows another time.
func waitForClock(last time.Time) {
	for !time.Now().Round(0).After(last.Round(0).Add(time.Microsecond)) {
		continue
	}
}

func testRecallRefuses(t *testing.T, s *subject) {
	if !s.Store.Capabilities().Can(store.CueEmbedding) {
		return
	}
	nan := Vector(1)
	nan[500] = float32(math.NaN())
	for name, vector := range map[string][]float32{"767 dimensions": Vector(1)[:767], "not a number": nan} {
		_, err := s.Store.Recall(t.Context(), store.Query{Space: space, Vector: vector, K: 1})
		if store.ClassOf(err) != store.ClassPermanent {
			t.Errorf("%s: expected a permanent refusal, got %v", name, err)
		}
	}
}

func testRecallUnknown(t *testing.T, s *subject) {
	if !s.Exact {
		return
	}
	s.mustPut(t, s.next(space, "rose", "bud"))
	if hits := s.recall(t, store.Query{Space: "nowhere", Vector: Vector(1), K: 10, Threshold: -1}); len(hits) != 0 {
		t.Errorf("%d hits in a space nobody wrote to", len(hits))
	}
}

func testRecallEnded(t *testing.T, s *subject) {
	if !s.Store.Capabilities().Can(store.CueEmbedding) {
		return
	}
	s.mustPut(t, s.next(space, "rose", "bud"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Store.Recall(ended, store.Query{Space: space, Vector: Vector(1), K: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("expected %v, got %v", context.Canceled, err)
	}
}
