package proxy

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// pendingBudget is how long a recall looks through what is not yet delivered, where its deadline does not say less.
const pendingBudget = 2 * time.Second

// maxScans bounds how many recalls look through it at a time: each reads and scores all that is pending in its space.
const maxScans = 4

// ask puts a query to the store and to what the store does not have yet. The pending set comes first: what is delivered
// while the two are asked is then seen twice, and merged, rather than not at all.
func (s *Server) ask(ctx context.Context, q store.Query) (*answerSet, error) {
	began := time.Now()
	var out answerSet
	pending := overlay{q: q, versions: map[string]uint64{}}
	if !q.Committed {
		if err := pending.fill(ctx, s.deps.Pending, s.scans); err != nil {
			if ctx.Err() != nil {
				return nil, status.FromContextError(ctx.Err()).Err()
			}
			s.log.Warn("a recall shows only part of what is not yet delivered", "space", q.Space, "error", err)
			out.partial = append(out.partial, partialPending)
		} else if q.Vector == nil && len(pending.versions) > 0 { // nothing here can tell which of them such a cue means
			out.partial = append(out.partial, partialPending)
		}
	}
	wider := q
	wider.K += min(len(pending.versions), q.K) // some of the store's may be superseded by a pending version
	answer, err := s.deps.Store.Recall(ctx, wider)
	if err != nil {
		if err := s.withoutStore(ctx, q, err); err != nil {
			return nil, err
		}
		out.partial = append([]string{partialStore}, out.partial...)
	}
	out.hits = pending.merge(answer.Hits)
	out.considered = answer.Considered + pending.considered
	out.above = max(answer.Above+pending.above, len(out.hits))
	out.raw, out.took = answer.Raw, time.Since(began)
	return &out, nil
}

// withoutStore says whether a recall can do without the store that has just failed it: nil, or what the call ends with.
func (s *Server) withoutStore(ctx context.Context, q store.Query, err error) error {
	switch {
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	case store.ClassOf(err) == store.ClassPermanent:
		return s.invalid(err)
	case q.Vector == nil, q.Committed: // nothing that is here answers such a question
		return status.Errorf(codes.Unavailable, "the store cannot be asked now: %v; try again later", err)
	}
	s.log.Warn("a recall is answered without the store", "space", q.Space, "error", err)
	return nil
}

// overlay is what a query finds among the pending writes of its space.
type overlay struct {
	q        store.Query
	versions map[string]uint64 // the newest pending version of each id
	best     hitHeap           // of those that reach the threshold, the K best, the worst of them first

	considered, above int
	scratch           []float32
}

// fill goes through the pending writes, newest first, so that the first version of an id is the one that counts. An error
// means that there are more. It waits for a slot first, within its budget.
func (o *overlay) fill(ctx context.Context, pending Pending, slots chan struct{}) error {
	budget := pendingBudget
	if deadline, ok := ctx.Deadline(); ok {
		budget = min(budget, time.Until(deadline)/2) // the other half is the store's
	}
	bounded, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-bounded.Done():
		return fmt.Errorf("%d recalls look through it already: %w", cap(slots), context.Cause(bounded))
	}
	return pending.Visit(bounded, o.q.Space, func(r *wal.Record) bool {
		o.add(r)
		return true
	})
}

// add looks at one record, and copies what it keeps: the record's slices may hold on to a whole read buffer.
func (o *overlay) add(r *wal.Record) {
	id := string(r.ID)
	if _, superseded := o.versions[id]; superseded {
		return
	}
	at := time.Unix(0, r.Time)
	if !o.q.Before.IsZero() && !at.Before(o.q.Before) {
		return
	}
	o.versions[id] = r.Index
	if o.q.Vector == nil {
		return // only an embedding can be compared here
	}
	o.considered++
	score, ok := o.score(r.Form, r.Payload)
	if !ok || score < o.q.Threshold {
		return
	}
	o.above++
	if len(o.best) == o.q.K {
		if score <= o.best[0].Score {
			return
		}
		heap.Pop(&o.best)
	}
	heap.Push(&o.best, store.Hit{
		ID: id, Score: score, HasScore: true, Version: r.Index, CommittedAt: at, Form: r.Form, Body: bytes.Clone(r.Payload),
	})
}

func (o *overlay) score(form wal.Form, body []byte) (float32, bool) {
	var ok bool
	o.scratch, ok = appendEmbedding(o.scratch[:0], form, body)
	if !ok {
		return 0, false
	}
	return cosine(o.q.Vector, o.scratch), true
}

// merge joins the store's hits with the pending ones: no id twice, the newer version wins, best first.
func (o *overlay) merge(hits []store.Hit) []store.Hit {
	merged := make([]store.Hit, 0, len(hits)+len(o.best))
	stored := map[string]bool{}
	for _, h := range hits {
		pending, isPending := o.versions[h.ID]
		if (isPending && h.Version < pending) || stored[h.ID] {
			continue
		}
		stored[h.ID] = true
		if !h.HasScore && o.q.Vector != nil {
			h.Score, h.HasScore = o.score(h.Form, h.Body)
		}
		merged = append(merged, h)
	}
	for _, h := range o.best {
		if !stored[h.ID] {
			merged = append(merged, h)
		}
	}
	if o.q.Vector != nil {
		slices.SortStableFunc(merged, better)
	}
	return merged[:min(len(merged), o.q.K)]
}

// better puts the higher score first, and what has none behind the rest, in the store's order.
func better(a, b store.Hit) int {
	switch {
	case a.HasScore && b.HasScore:
		return cmp.Compare(b.Score, a.Score)
	case a.HasScore:
		return -1
	case b.HasScore:
		return 1
	default:
		return 0
	}
}

// hitHeap has the worst hit at its root.
type hitHeap []store.Hit

func (h hitHeap) Len() int           { return len(h) }
func (h hitHeap) Less(i, j int) bool { return h[i].Score < h[j].Score }
func (h hitHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *hitHeap) Push(x any) {
	if hit, ok := x.(store.Hit); ok {
		*h = append(*h, hit)
	}
}

// Pop implements heap.Interface.
func (h *hitHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = store.Hit{}
	*h = old[:len(old)-1]
	return last
}
