package embedded

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// view is what one recall sees: the rows that were committed when it began, and which of them were replaced then.
type view struct {
	layout   layout
	segments []segmentView
	rows     []uint32 // of the space, ascending
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
	v := view{layout: s.layout, rows: sp.rows, segments: make([]segmentView, len(s.segments))}
	for i, seg := range s.segments {
		v.segments[i] = segmentView{segment: seg, dead: seg.dead}
	}
	return v
}

const (
	// chunkRows is how many rows are compared between two looks at the context: 6 MiB of vectors, less than a millisecond.
	chunkRows = 2048
	// manyRows is from how many rows on it pays to wake other processors.
	manyRows = 4 * chunkRows
)

// search compares the rows of a view with one vector.
type search struct {
	store     *Store
	view      view
	unit      []float32 // the cue, of length 1 or all zero
	threshold float32
	before    int64 // Unix nanoseconds; rows from then on are left out
	next      atomic.Int64
}

// found is what one worker has found.
type found struct {
	top        top
	considered int
	above      int
}

// run compares all rows, with up to workers threads, and returns the k best.
func (q *search) run(ctx context.Context, k, workers int) (found, error) {
	if len(q.view.rows) < manyRows {
		workers = 1
	}
	chunks := (len(q.view.rows) + chunkRows - 1) / chunkRows
	results := make([]found, max(1, min(workers, chunks)))
	var others sync.WaitGroup // waited for below
	for i := 1; i < len(results); i++ {
		others.Go(func() { q.work(ctx, k, &results[i]) })
	}
	q.work(ctx, k, &results[0])
	others.Wait()
	if err := ctx.Err(); err != nil {
		return found{}, fmt.Errorf("embedded store: recall: %w", err)
	}
	all := &results[0]
	for i := range results[1:] {
		all.add(&results[1+i])
	}
	return *all, nil
}

func (f *found) add(other *found) {
	f.top.merge(&other.top)
	f.considered += other.considered
	f.above += other.above
}

// work takes chunks until there are no more.
func (q *search) work(ctx context.Context, k int, f *found) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	f.top.k = k
	for ctx.Err() == nil {
		start := int(q.next.Add(chunkRows)) - chunkRows
		if start >= len(q.view.rows) {
			return
		}
		chunk := q.view.rows[start:min(start+chunkRows, len(q.view.rows))]
		for len(chunk) > 0 {
			chunk = chunk[q.compare(chunk, f):]
		}
	}
}

// compare looks at rows one after the other, and returns how many it is done with: all, or those up to and with one whose
// vector could not be read where it is mapped.
func (q *search) compare(rows []uint32, f *found) (done int) {
	defer func() {
		if e := recover(); e != nil {
			if !isFault(e) {
				panic(e)
			}
			seg, place := q.at(rows[done])
			q.store.markDamaged(seg.segment, place, fmt.Errorf("%w: %v", errFault, e))
			done++
		}
	}()
	for ; done < len(rows); done++ {
		seg, place := q.at(rows[done])
		if seg.dead.has(place) || seg.damaged.has(place) || seg.rows[place].at >= q.before {
			continue
		}
		if !seg.verified.has(place) && !q.verify(seg, place) {
			continue
		}
		f.considered++
		if score := q.score(seg, place); score >= q.threshold {
			f.above++
			f.top.offer(candidate{score: score, row: rows[done]})
		}
	}
	return done
}

func (q *search) at(number uint32) (*segmentView, int) {
	return &q.view.segments[q.view.layout.segmentOf(number)], q.view.layout.placeOf(number)
}

// verify compares a vector with its checksum, the first time since the start that someone looks at it.
func (q *search) verify(seg *segmentView, place int) bool {
	if !seg.vectorMatches(place) {
		q.store.markDamaged(seg.segment, place, errVector)
		return false
	}
	seg.verified.add(place)
	return true
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
