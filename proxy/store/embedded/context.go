package embedded

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// remembrance is one recall by context: it looks at every body of a space, since nothing but the body knows of time, place
// and people.
type remembrance struct {
	store  *Store
	view   view
	meets  meets
	before int64
	k      int
	next   atomic.Int64

	considered atomic.Int64
}

// moment is a row in the order in which a context cue is answered.
type moment struct {
	store.Moment
	row uint32
}

// run looks at all rows and returns those that meet the filter, the k latest, the latest first.
func (q *remembrance) run(ctx context.Context, workers int) ([]moment, error) {
	if len(q.view.rows) < manyRows {
		workers = 1
	}
	results := make([]moments, max(workers, 1))
	var others sync.WaitGroup // waited for below
	for i := range results[1:] {
		others.Go(func() { q.work(ctx, &results[1+i]) })
	}
	q.work(ctx, &results[0])
	others.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("embedded store: recall: %w", err)
	}
	all := slices.Concat(results...)
	slices.SortFunc(all, func(a, b moment) int { return store.Later(a.Moment, b.Moment) })
	return all[:min(len(all), q.k)], nil
}

func (q *remembrance) work(ctx context.Context, best *moments) {
	var r bodyReader
	for ctx.Err() == nil {
		start := int(q.next.Add(chunkRows)) - chunkRows
		if start >= len(q.view.rows) {
			return
		}
		chunk := q.view.rows[start:min(start+chunkRows, len(q.view.rows))]
		for i, number := range chunk {
			q.look(number, q.ahead(chunk[i:]), &r, best)
		}
	}
}

// ahead is how many bytes lie between the end of the first row's body and that of the last in the same segment: the rows
// between are mostly of this space too, or it would not be worth while to read them.
func (q *remembrance) ahead(rows []uint32) int64 {
	const near = 64 // rows
	last := rows[min(near, len(rows))-1]
	if q.view.layout.segmentOf(last) != q.view.layout.segmentOf(rows[0]) || int(last-rows[0]) > 4*near {
		return 0
	}
	seg, place := q.view.at(rows[0])
	_, end := q.view.at(last)
	return int64(seg.rows[end].end() - seg.rows[place].end()) //nolint:gosec // offsets in a file
}

func (q *remembrance) look(number uint32, ahead int64, r *bodyReader, best *moments) {
	seg, place := q.view.at(number)
	if seg.dead.has(place) || seg.damaged.has(place) || seg.rows[place].at >= q.before {
		return
	}
	var b body
	if err := r.scan(q.store, seg.segment, place, ahead, &b); err != nil {
		q.store.markDamaged(seg.segment, place, err)
		return
	}
	q.considered.Add(1)
	if q.meets.filter.Match(&r.scene) {
		best.offer(q.k, store.Moment{When: r.scene.When, HasWhen: r.scene.HasWhen}, b.id, number)
	}
}

// moments is a heap with the earliest at its root.
type moments []moment

// offer keeps a row if it is one of the k latest.
func (m *moments) offer(k int, at store.Moment, id []byte, number uint32) {
	if len(*m) == k {
		at.ID = (*m)[0].ID // where only the id could decide it has to be made
		if c := store.Later(at, (*m)[0].Moment); c > 0 || (c == 0 && string(id) > at.ID) {
			return
		}
		heap.Pop(m)
	}
	at.ID = string(id)
	heap.Push(m, moment{Moment: at, row: number})
}

func (m moments) Len() int           { return len(m) }
func (m moments) Less(i, j int) bool { return store.Later(m[i].Moment, m[j].Moment) > 0 }
func (m moments) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }

// Push implements heap.Interface.
func (m *moments) Push(x any) { *m = append(*m, x.(moment)) } //nolint:errcheck,forcetypeassert // from offer alone

// Pop implements heap.Interface.
func (m *moments) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

// recallContext answers a context cue.
func (s *Store) recallContext(ctx context.Context, q *store.Query) (store.Answer, error) {
	r := remembrance{store: s, view: s.view(q.Space), meets: meets{q.Filter}, before: nanos(q.Before), k: q.K}
	for {
		r.next.Store(0)
		r.considered.Store(0)
		latest, err := r.run(ctx, s.cfg.Workers)
		if err != nil {
			return store.Answer{}, err
		}
		hits, err := r.hits(ctx, latest)
		if errors.Is(err, errDamagedHit) {
			continue // it is marked, and will not be found again
		}
		return store.Answer{Hits: hits, Considered: int(r.considered.Load())}, err
	}
}

// hits reads the memories, as search.hits does.
func (q *remembrance) hits(ctx context.Context, latest []moment) ([]store.Hit, error) {
	hits := make([]store.Hit, 0, len(latest))
	var damaged error
	for _, m := range latest {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("embedded store: recall: %w", err)
		}
		seg, place := q.view.at(m.row)
		hit, err := q.store.hit(seg.segment, place)
		if err != nil {
			q.store.markDamaged(seg.segment, place, err)
			damaged = errDamagedHit
			continue
		}
		hits = append(hits, hit)
	}
	return hits, damaged
}
