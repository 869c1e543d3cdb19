package proxy

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// pendingBudget is how long a recall looks through what is not yet delivered, where its deadline does not say less.
const pendingBudget = 2 * time.Second

// maxScans bounds how many recalls look through it at a time: each reads and scores all that is pending in its space.
const maxScans = 4

// pendingShare is how long a recall may look through what is pending: at most half of the time it has.
func pendingShare(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(pendingBudget, time.Until(deadline)/2)
	}
	return pendingBudget
}

// storeShare is ctx for asking the store: it ends before the call's own deadline, so that there is time left to answer
// without a store that hangs.
func storeShare(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	left := time.Until(deadline)
	return context.WithTimeout(ctx, left-left/10)
}

// maxAsks bounds how often one recall begins anew, because pending versions that the store has newer ones of had taken the
// places of others.
const maxAsks = 4

// ask puts a query to the store and to what the store does not have yet. The pending set comes first: what is delivered
// while the two are asked is then seen twice, and merged, rather than not at all.
func (s *Server) ask(ctx context.Context, q store.Query) (*answerSet, error) {
	began := time.Now()
	overtaken := map[idKey]uint64{}
	for asks := 1; ; asks++ {
		out, pending, answer, err := s.askBoth(ctx, q, overtaken)
		if err != nil {
			return nil, err
		}
		dropped, err := s.dropOvertaken(ctx, pending, answer.Hits)
		if err != nil {
			return nil, err
		}
		if dropped && pending.displaced {
			if asks < maxAsks {
				continue
			}
			out.partial = append(out.partial, partialPending)
		}
		out.hits = pending.merge(answer.Hits)
		out.considered = answer.Considered + pending.considered
		out.above = max(answer.Above+pending.above, len(out.hits))
		out.raw, out.took = answer.Raw, time.Since(began)
		return out, nil
	}
}

// askBoth asks the pending writes, and then the store.
func (s *Server) askBoth(ctx context.Context, q store.Query, overtaken map[idKey]uint64) (*answerSet, *overlay, store.Answer, error) {
	var out answerSet
	pending := newOverlay(q)
	pending.overtaken = overtaken
	if !q.Committed {
		if err := pending.fill(ctx, s.deps.Pending, s.scans); err != nil {
			if ctx.Err() != nil {
				return nil, nil, store.Answer{}, status.FromContextError(ctx.Err()).Err()
			}
			s.log.Warn("a recall shows only part of what is not yet delivered", "space", q.Space, "error", err)
			out.partial = append(out.partial, partialPending)
		} else if !pending.judges() && len(pending.versions) > 0 { // nothing here can tell which of them such a cue means
			out.partial = append(out.partial, partialPending)
		}
	}
	answer, err := s.askStore(ctx, pending)
	if err != nil {
		if err := s.withoutStore(ctx, pending, err); err != nil {
			return nil, nil, store.Answer{}, err
		}
		out.partial = append([]string{partialStore}, out.partial...)
		pending.alone = true
	}
	return &out, pending, answer, nil
}

// askStore asks for as many hits as it takes to have enough that no pending version supersedes.
func (s *Server) askStore(ctx context.Context, pending *overlay) (store.Answer, error) {
	bounded, cancel := storeShare(ctx)
	defer cancel()
	most := pending.q.K + len(pending.versions)
	wider := pending.q
	for wider.K = min(most, 2*pending.q.K); ; wider.K = min(most, 8*wider.K) {
		answer, err := s.deps.Store.Recall(bounded, wider)
		if err != nil {
			return store.Answer{}, err
		}
		current := 0
		for i := range answer.Hits {
			if !pending.superseded(&answer.Hits[i]) {
				current++
			}
		}
		if current >= pending.q.K || len(answer.Hits) < wider.K || wider.K == most {
			return answer, nil
		}
	}
}

// dropOvertaken takes pending versions out of which the store has a newer one: another session, or a higher lane, was
// faster. It says whether there were any. They are remembered, so that they take nobody's place when it is asked again.
func (s *Server) dropOvertaken(ctx context.Context, pending *overlay, hits []store.Hit) (bool, error) {
	if len(pending.best) == 0 || pending.alone || !pending.q.Before.IsZero() { // an earlier moment may well show an older version
		return false, nil
	}
	stored := map[string]uint64{}
	for i := range hits {
		stored[hits[i].ID] = hits[i].Version
	}
	if versioner, ok := s.deps.Store.(Versioner); ok { // the newer one need not answer the query
		var ids []string
		for i := range pending.best {
			if _, among := stored[pending.best[i].ID]; !among {
				ids = append(ids, pending.best[i].ID)
			}
		}
		versions, err := versioner.Versions(ctx, pending.q.Space, ids)
		if err != nil {
			if ctx.Err() != nil {
				return false, status.FromContextError(ctx.Err()).Err()
			}
			return false, status.Errorf(codes.Unavailable, "the store cannot be asked now: %v; try again later", err)
		}
		for i, id := range ids {
			stored[id] = versions[i]
		}
	}
	before := len(pending.best)
	pending.best = slices.DeleteFunc(pending.best, func(h ranked) bool {
		newer := stored[h.ID] > h.Version
		if newer {
			pending.overtaken[keyOf(h.ID)] = stored[h.ID]
		}
		return newer
	})
	return len(pending.best) < before, nil
}

// withoutStore says whether a recall can do without the store that has just failed it: nil, or what the call ends with.
func (s *Server) withoutStore(ctx context.Context, pending *overlay, err error) error {
	switch {
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	case store.ClassOf(err) == store.ClassPermanent:
		return s.invalid(err)
	case !pending.judges(), pending.q.Committed: // nothing that is here answers such a question
		return status.Errorf(codes.Unavailable, "the store cannot be asked now: %v; try again later", err)
	}
	s.log.Warn("a recall is answered without the store", "space", pending.q.Space, "class", store.ClassOf(err).String(),
		"code", status.Code(err).String()) // not its words: it may quote the question
	return nil
}
