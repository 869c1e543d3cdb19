package proxy

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// overlay is what a query finds among the pending writes of its space.
type overlay struct {
	q        store.Query
	versions map[idKey]uint64 // the newest pending version of each id
	best     rankedHeap       // of those that answer the query, the K best, the worst of them first

	overtaken map[idKey]uint64 // versions that the store was found to have, newer than what is pending; may be nil
	displaced bool             // there were more than K
	alone     bool             // the store could not be asked

	considered, above int
	vector            []float32
	scene             envelope.Circumstances
}

// ranked is a hit with its place in the answer to a query without a vector.
type ranked struct {
	store.Hit
	moment  store.Moment
	foreign bool // the store has an order of its own, which nothing here can tell
}

// maxOverlay bounds how many pending ids one recall keeps, some 20 MB of them.
const maxOverlay = 400_000

var errTooMany = errors.New("more memories are pending than one recall keeps count of")

// idKey stands for an id: two hashes that no client can foresee, 128 bits.
type idKey [2]uint64

var idSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func keyOf[T string | []byte](id T) (k idKey) {
	for i, seed := range idSeeds {
		var h maphash.Hash
		h.SetSeed(seed)
		_, _ = h.WriteString(string(id)) // it cannot fail
		k[i] = h.Sum64()
	}
	return k
}

// newOverlay prepares an overlay for a query.
func newOverlay(q store.Query) *overlay { return &overlay{q: q, versions: map[idKey]uint64{}} }

// judges says whether pending writes can be judged by the query here, or only by the store.
func (o *overlay) judges() bool { return o.q.Vector != nil || o.q.Cue == store.CueContext }

// fill goes through the pending writes, newest first, so that the first version of an id is the one that counts. An error
// means that there are more. It waits for a slot first, within its budget.
func (o *overlay) fill(ctx context.Context, pending Pending, slots chan struct{}) error {
	bounded, cancel := context.WithTimeout(ctx, pendingShare(ctx))
	defer cancel()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-bounded.Done():
		return fmt.Errorf("%d recalls look through it already: %w", cap(slots), context.Cause(bounded))
	}
	full := false
	err := pending.Visit(bounded, o.q.Space, func(r *wal.Record) bool {
		full = len(o.versions) >= maxOverlay
		if !full {
			o.add(r)
		}
		return !full
	})
	if full {
		return errTooMany
	}
	return err
}

// add looks at one record, and copies what it keeps: the record's slices may hold on to a whole read buffer.
func (o *overlay) add(r *wal.Record) {
	key := keyOf(r.ID)
	if _, superseded := o.versions[key]; superseded {
		return
	}
	at := time.Unix(0, r.Time)
	if !o.q.Before.IsZero() && !at.Before(o.q.Before) {
		return
	}
	o.versions[key] = r.Index
	if !o.judges() || o.overtaken[key] > r.Index {
		return
	}
	o.considered++
	hit := ranked{Hit: store.Hit{Version: r.Index, CommittedAt: at, Form: r.Form, Body: r.Payload}}
	if !o.judge(&hit) {
		return
	}
	o.above++
	hit.ID = string(r.ID)
	hit.moment.ID = hit.ID
	if len(o.best) == o.q.K {
		o.displaced = true
		if o.order(&hit, &o.best[0]) >= 0 {
			return
		}
		o.pop()
	}
	hit.Body = bytes.Clone(r.Payload)
	o.push(hit)
}

// judge scores a hit, or finds its moment, and says whether it answers the query.
func (o *overlay) judge(h *ranked) bool {
	if o.q.Vector == nil || !o.q.Filter.IsZero() {
		if store.CircumstancesOf(h.Form, h.Body, &o.scene) != nil || !o.q.Filter.Match(&o.scene) {
			return false
		}
		h.moment.When, h.moment.HasWhen = o.scene.When, o.scene.HasWhen
	}
	if o.q.Vector == nil {
		return true
	}
	h.Score, h.HasScore = o.score(h.Form, h.Body)
	return h.HasScore && h.Score >= o.q.Threshold
}

func (o *overlay) score(form wal.Form, body []byte) (float32, bool) {
	var ok bool
	o.vector, ok = appendEmbedding(o.vector[:0], form, body)
	if !ok {
		return 0, false
	}
	return cosine(o.q.Vector, o.vector), true
}

// superseded says that a hit of the store's has a newer version among the pending writes.
func (o *overlay) superseded(h *store.Hit) bool {
	pending, ok := o.versions[keyOf(h.ID)]
	return ok && h.Version < pending
}

// merge joins the store's hits with the pending ones: no id twice, the newer version wins, best first.
func (o *overlay) merge(hits []store.Hit) []store.Hit {
	merged := make([]ranked, 0, len(hits)+len(o.best))
	stored := map[string]bool{}
	for _, h := range hits {
		if stored[h.ID] || o.superseded(&h) {
			continue
		}
		stored[h.ID] = true
		merged = append(merged, o.rank(h))
	}
	for _, h := range o.best {
		if !stored[h.ID] {
			merged = append(merged, h)
		}
	}
	if o.judges() {
		slices.SortStableFunc(merged, func(a, b ranked) int { return o.order(&a, &b) })
	}
	out := make([]store.Hit, 0, min(len(merged), o.q.K))
	for i := range merged[:min(len(merged), o.q.K)] {
		out = append(out, merged[i].Hit)
	}
	return out
}

// rank finds the place of one of the store's hits.
func (o *overlay) rank(h store.Hit) ranked {
	r := ranked{Hit: h, moment: store.Moment{ID: h.ID}, foreign: h.Form == store.FormMemory}
	switch {
	case o.q.Vector != nil && !h.HasScore:
		r.Score, r.HasScore = o.score(h.Form, h.Body)
	case o.q.Vector == nil && o.judges() && store.CircumstancesOf(h.Form, h.Body, &o.scene) == nil:
		r.moment.When, r.moment.HasWhen = o.scene.When, o.scene.HasWhen
	}
	return r
}

// order puts the better hit first: the higher score, and what has none behind the rest, in the store's order; for a query
// without a vector what happened later, and behind it, in the store's order, what comes from an Engram server. Ids decide
// where these are equal.
func (o *overlay) order(a, b *ranked) int {
	switch {
	case o.q.Vector == nil && a.foreign && b.foreign:
		return 0
	case o.q.Vector == nil && a.foreign != b.foreign:
		if a.foreign {
			return 1
		}
		return -1
	case o.q.Vector == nil:
		return store.Later(a.moment, b.moment)
	case a.HasScore && b.HasScore:
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
	case a.HasScore:
		return -1
	case b.HasScore:
		return 1
	default:
		return 0
	}
}

func (o *overlay) push(h ranked) {
	o.best = append(o.best, h)
	heap.Fix(&byRank{o}, len(o.best)-1)
}

func (o *overlay) pop() {
	last := len(o.best) - 1
	o.best[0] = o.best[last]
	o.best[last] = ranked{}
	if o.best = o.best[:last]; last > 0 {
		heap.Fix(&byRank{o}, 0)
	}
}

// rankedHeap has the worst hit at its root.
type rankedHeap []ranked

// byRank is the heap's order, as container/heap wants it.
type byRank struct{ o *overlay }

// Len implements heap.Interface.
func (h *byRank) Len() int { return len(h.o.best) }

// Less implements heap.Interface.
func (h *byRank) Less(i, j int) bool { return h.o.order(&h.o.best[i], &h.o.best[j]) > 0 }

// Swap implements heap.Interface.
func (h *byRank) Swap(i, j int) { h.o.best[i], h.o.best[j] = h.o.best[j], h.o.best[i] }

// Push implements heap.Interface; push does it.
func (h *byRank) Push(any) {}

// Pop implements heap.Interface; pop does it.
func (h *byRank) Pop() any { return nil }
