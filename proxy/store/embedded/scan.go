package embedded

import (
	"context"
	"fmt"
	"sync/atomic"
)

// view is what one recall sees: the rows that were committed when it began, and which of them were replaced then.
type view struct {
	layout   layout
	segments []segmentView
	rows     []uint32 // of the space, ascending
	list     rowList
}

type segmentView struct {
	*segment
	dead bitset
}

// view returns what is committed in a space now.
func (s *Store) view(name string) view {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sp := s.spaces[name]
	if sp == nil {
		return view{}
	}
	v := view{layout: s.layout, rows: sp.rows, segments: make([]segmentView, len(s.segments)), list: rowList{sp, sp.sweeps}}
	for i, seg := range s.segments {
		v.segments[i] = segmentView{segment: seg, dead: seg.dead}
	}
	return v
}

func (v *view) at(number uint32) (*segmentView, int) {
	return &v.segments[v.layout.segmentOf(number)], v.layout.placeOf(number)
}

const (
	// chunkRows is how many rows are compared between two looks at the context: 6 MiB of vectors or 1.6 of sketches, less than a
	// millisecond.
	chunkRows = 2048
	// manyRows is from how many rows on it pays to wake other processors, and to share a pass.
	manyRows = 4 * chunkRows
)

// search is one recall by a vector.
type search struct {
	store     *Store
	view      view
	unit      []float32 // the cue, of length 1 or all zero
	sketched  sketchedQuery
	threshold float32
	before    int64 // Unix nanoseconds; rows from then on are left out
	k         int
	meets     *meets // nil where all do
	left      atomic.Bool
	found     found
}

// found is what one worker, or all of them, have found for one search.
type found struct {
	top        top
	considered int
	above      int
	reader     bodyReader
}

func (f *found) add(other *found) {
	f.top.merge(&other.top)
	f.considered += other.considered
	f.above += other.above
}

// run compares all rows of the search's view: in a pass of its own, or with others that wait for one.
func (q *search) run(ctx context.Context) error {
	q.found = found{top: top{k: q.k}}
	var err error
	if len(q.view.rows) < manyRows {
		alone := pass{store: q.store, searches: []*search{q}, view: q.view, workers: 1}
		err = alone.run(ctx)
	} else {
		err = q.store.passes.join(ctx, q)
	}
	if err != nil {
		return fmt.Errorf("embedded store: recall: %w", err)
	}
	return nil
}

// look compares one row, which is known to be what was written, with the cue.
func (q *search) look(seg *segmentView, place int, number uint32, f *found) {
	f.considered++
	q.judge(seg, place, number, f, true)
}

// judge offers a row to the best. Counts says that it was not counted yet among those that reach the threshold.
func (q *search) judge(seg *segmentView, place int, number uint32, f *found, counts bool) {
	score := q.score(seg, place)
	if score < q.threshold {
		return
	}
	if counts {
		f.above++
	}
	c := candidate{score: score, row: number}
	if q.meets != nil && (!f.top.wants(c) || !q.meets.row(q.store, seg.segment, place, &f.reader)) {
		return
	}
	f.top.offer(c)
}

// score returns the cosine of the angle between the cue and a row, -1 to 1; 0 where one of them has no direction.
func (q *search) score(seg *segmentView, place int) float32 {
	var score float32
	switch scale := seg.rows[place].scale; scale {
	case scaleZero:
		return 0
	case scaleExtreme:
		score = cosineExact(q.unit, seg.vector(place))
	default:
		score = dot(q.unit, seg.vector(place)) * scale
	}
	return max(-1, min(1, score)) // rounding may have led beyond
}
