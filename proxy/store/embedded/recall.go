package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// Recall compares the cue with every memory of its space that is committed now, and returns the K whose cosine is largest,
// at least the threshold. Equal scores are ordered by id; where more than 256 memories beyond the last place score like it,
// those stored first are taken. The same store and the same query give the same answer.
//
// What has been replaced is never returned, nor what is damaged: that is logged and counted (Stats, Damages). A vector of
// zeros scores 0. A filter leaves out what does not meet it. A query without a vector asks for the circumstances alone: it
// reads every body of the space, and answers with the latest first, as store.Later orders them.
//
// Recalls of one space that come while others are under way wait, and share the next pass over its vectors; each sees what
// was committed when it was called, whatever the others see.
//
// The query is refused with store.Permanent where it is not 768 finite numbers, or asks for less than one
// hit. When ctx ends the error is its own; it is looked at about once a millisecond.
func (s *Store) Recall(ctx context.Context, q store.Query) (store.Answer, error) {
	if err := check(&q); err != nil {
		return store.Answer{}, store.Permanent(fmt.Errorf("embedded store: %w", err))
	}
	if err := s.enter(); err != nil {
		return store.Answer{}, store.Unavailable(err)
	}
	defer s.leave()
	if q.Vector == nil {
		return s.recallContext(ctx, &q)
	}
	search := search{
		store: s, view: s.view(q.Space), unit: unitOf(q.Vector), threshold: q.Threshold, before: nanos(q.Before), k: q.K,
	}
	if !q.Filter.IsZero() {
		search.meets = &meets{q.Filter}
	}
	return search.answer(ctx)
}

// answer looks, and looks again as long as something among the best turns out to be damaged when it is read.
func (q *search) answer(ctx context.Context) (store.Answer, error) {
	for {
		if err := q.run(ctx); err != nil {
			return store.Answer{}, err
		}
		hits, err := q.hits(ctx, &q.found.top)
		if errors.Is(err, errDamagedHit) {
			q = q.again()
			continue // it is marked, and will not be found again
		}
		if err != nil {
			return store.Answer{}, err
		}
		answer := store.Answer{Hits: hits, Considered: q.found.considered, Above: q.found.above}
		if q.meets != nil {
			answer.Above = 0 // not all that reach the threshold were asked whether they meet the filter
		}
		return answer, nil
	}
}

// again is the same search, which has found nothing yet.
func (q *search) again() *search {
	return &search{
		store: q.store, view: q.view, unit: q.unit, threshold: q.threshold, before: q.before, k: q.k, meets: q.meets,
	}
}

func check(q *store.Query) error {
	switch {
	case q.Vector == nil && q.Text != "":
		return errors.New("cue.semantic: expected its text as a vector, got none")
	case q.Vector != nil && len(q.Vector) != store.Dimensions:
		return fmt.Errorf("cue.embedding: expected %d dimensions, got %d", store.Dimensions, len(q.Vector))
	case q.K < 1:
		return fmt.Errorf("max_results: expected 1 or more, got %d", q.K)
	}
	for i, v := range q.Vector {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("cue.embedding[%d]: expected a finite number, got %v", i, v)
		}
	}
	return nil
}

// nanos returns the end of the range that Query.Before leaves; nanoseconds reach from 1678 to 2262.
func nanos(before time.Time) int64 {
	switch {
	case before.IsZero() || before.Year() >= 2262:
		return math.MaxInt64
	case before.Year() < 1678:
		return math.MinInt64
	default:
		return before.UnixNano()
	}
}

// errDamagedHit says that something among the best was found damaged when it was read.
var errDamagedHit = errors.New("a hit is damaged")

// hits reads the memories behind the best candidates. All of them are read and verified before one is left out, so that
// damage brings up the next best.
func (q *search) hits(ctx context.Context, t *top) ([]store.Hit, error) {
	candidates, damaged := q.breakTies(t.sorted(), t.k)
	hits := make([]store.Hit, 0, len(candidates))
	for _, c := range candidates {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("embedded store: recall: %w", err)
		}
		seg, place := q.view.at(c.row)
		hit, err := q.store.hit(seg.segment, place)
		if err != nil {
			q.store.markDamaged(seg.segment, place, err)
			damaged = true
			continue
		}
		hit.Score, hit.HasScore = c.score, true
		hits = append(hits, hit)
	}
	if damaged {
		return nil, errDamagedHit
	}
	slices.SortFunc(hits, func(a, b store.Hit) int {
		if c := cmp.Compare(b.Score, a.Score); c != 0 {
			return c
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return hits, nil
}

// breakTies leaves k of the candidates, which come best first: among those that score like the last, ids decide. It says
// whether it found one damaged.
func (q *search) breakTies(candidates []candidate, k int) (chosen []candidate, damaged bool) {
	if len(candidates) <= k {
		return candidates, false
	}
	cut := candidates[k-1].score
	first := slices.IndexFunc(candidates, func(c candidate) bool { return c.score == cut })
	ids := make(map[uint32]string, len(candidates)-first)
	for _, c := range candidates[first:] {
		seg, place := q.view.at(c.row)
		var b body
		if err := q.store.readHead(seg.segment, &seg.rows[place], &b); err != nil {
			q.store.markDamaged(seg.segment, place, err)
			return nil, true
		}
		ids[c.row] = string(b.id)
	}
	slices.SortFunc(candidates[first:], func(a, b candidate) int { return cmp.Compare(ids[a.row], ids[b.row]) })
	return candidates[:k], false
}

// hit reads one memory.
func (s *Store) hit(seg *segment, place int) (store.Hit, error) {
	b, vector, err := s.readRow(seg, place)
	if err != nil {
		return store.Hit{}, err
	}
	return store.Hit{
		ID: string(b.id), Version: b.version, CommittedAt: time.Unix(0, seg.rows[place].at), Form: b.form,
		Body: b.payload(vector),
	}, nil
}
