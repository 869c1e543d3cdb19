package embedded

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
)

// forPasses is a store with enough in it for passes to be shared.
func forPasses(t *testing.T, workers int) *Store {
	t.Helper()
	s := open(t, quickDir(t), Config{Workers: workers, SegmentRows: 4096})
	manyTulips(t, s, 2*manyRows)
	return s
}

func (s *Store) searchOf(q store.Query) *search {
	return &search{store: s, view: s.view(q.Space), unit: unitOf(q.Vector), threshold: q.Threshold, before: nanos(q.Before), k: q.K, found: found{top: top{k: q.K}}}
}

// await waits until a pass has so many.
func (p *passes) await(mine *pass, members int) {
	for {
		p.mu.Lock()
		n := mine.members
		p.mu.Unlock()
		if n == members {
			return
		}
		runtime.Gosched()
	}
}

func cue(i int) store.Query {
	return store.Query{Space: garden, Vector: storetest.Vector(uint64(1000 + i)), K: 5 + i, Threshold: -1}
}

func shown(answer store.Answer) string {
	var b []byte
	for _, h := range answer.Hits {
		b = fmt.Appendf(b, "%s %v\n", h.ID, h.Score)
	}
	return fmt.Sprintf("%d of %d above\n%s", answer.Above, answer.Considered, b)
}

// TestRecallsThatWaitShareOnePass holds one pass up, and lets more recalls come than fit into the next.
func TestRecallsThatWaitShareOnePass(t *testing.T) {
	for _, workers := range []int{1, 3} {
		s := forPasses(t, workers)
		const recalls = maxShared + 5
		var want []string
		for i := range recalls {
			answer, err := s.Recall(t.Context(), cue(i))
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, shown(answer))
		}
		q := s.searchOf(cue(0))
		running := s.passes.enlist(q)
		<-running.lead
		s.passes.mu.Lock()
		running.begun = true
		s.passes.mu.Unlock()
		s.passes.count.Store(0)
		got := make([]string, recalls)
		var all sync.WaitGroup
		for i := range recalls {
			all.Go(func() {
				answer, err := s.Recall(t.Context(), cue(i))
				if err != nil {
					t.Error(err)
				}
				got[i] = shown(answer)
			})
		}
		s.passes.await(s.waiting(recalls), recalls-maxShared)
		if n := s.passes.count.Load(); n != 0 {
			t.Errorf("%d passes began beside the one that runs", n)
		}
		if err := s.passes.goOn(t.Context(), running); err != nil {
			t.Fatal(err)
		}
		s.passes.leave(running, q)
		all.Wait()
		if !slices.Equal(got, want) {
			t.Error("a shared pass answers otherwise than one alone")
		}
		if n := s.passes.count.Load(); n != 2 {
			t.Errorf("%d recalls took %d passes, expected 2", recalls, n)
		}
		if len(s.passes.newest) != 0 {
			t.Errorf("%d passes are left over", len(s.passes.newest))
		}
	}
}

// waiting returns the newest pass, once so many recalls have come that it is the second of those that wait.
func (s *Store) waiting(recalls int) *pass {
	list := s.view(garden).list
	for {
		s.passes.mu.Lock()
		newest := s.passes.newest[list]
		found := newest.prev != nil && newest.members == recalls-maxShared
		s.passes.mu.Unlock()
		if found {
			return newest
		}
		runtime.Gosched()
	}
}

// TestLeaderLeaves ends the context of the one who leads a pass in its midst: the others get whole answers.
func TestLeaderLeaves(t *testing.T) {
	s := forPasses(t, 1)
	want, err := s.Recall(t.Context(), cue(1))
	if err != nil {
		t.Fatal(err)
	}
	q := s.searchOf(cue(0))
	mine := s.passes.enlist(q)
	<-mine.lead
	var others sync.WaitGroup
	for range 3 {
		others.Go(func() {
			if got, err := s.Recall(t.Context(), cue(1)); err != nil || shown(got) != shown(want) {
				t.Errorf("%v, %v; expected %v", shown(got), err, shown(want))
			}
		})
	}
	s.passes.await(mine, 4)
	const chunks = 3
	if err := s.passes.goOn(&endsAfter{Context: t.Context(), looks: chunks}, mine); !errors.Is(err, context.Canceled) {
		t.Errorf("the leader ended with %v", err)
	}
	if at := mine.next.Load(); at != chunks*chunkRows {
		t.Errorf("the leader came to row %d", at)
	}
	mine.lead <- struct{}{}
	s.passes.leave(mine, q)
	others.Wait()
}

// TestEachSeesItsOwnMoment shares a pass between recalls that came before and after a Put.
func TestEachSeesItsOwnMoment(t *testing.T) {
	s := forPasses(t, 2)
	n := 2 * manyRows
	before := store.Query{Space: garden, Vector: storetest.Vector(77), K: 3 * manyRows, Threshold: -1}
	q := s.searchOf(before)
	mine := s.passes.enlist(q)
	<-mine.lead
	mustPut(t, s, tulip(5, n+100), tulip(n+101, n+101))
	var after store.Answer
	var other sync.WaitGroup
	other.Go(func() {
		var err error
		if after, err = s.Recall(t.Context(), before); err != nil {
			t.Error(err)
		}
	})
	s.passes.await(mine, 2)
	if err := s.passes.goOn(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	mine.lead <- struct{}{}
	hits, err := q.hits(t.Context(), &q.found.top)
	if err != nil {
		t.Fatal(err)
	}
	s.passes.leave(mine, q)
	other.Wait()
	versions := func(hits []store.Hit) map[string]uint64 {
		m := map[string]uint64{}
		for _, h := range hits {
			m[h.ID] = h.Version
		}
		return m
	}
	if got := versions(hits); len(hits) != n || got[tulipID(5)] != 5 || got[tulipID(n+101)] != 0 {
		t.Errorf("the earlier one sees %d memories, %q as version %d", len(hits), tulipID(5), got[tulipID(5)])
	}
	if got := versions(after.Hits); len(after.Hits) != n+1 || got[tulipID(5)] != uint64(n+100) || got[tulipID(n+101)] == 0 {
		t.Errorf("the later one sees %d memories, %q as version %d", len(after.Hits), tulipID(5), got[tulipID(5)])
	}
}

// TestNobodyIsLeft has everybody leave a pass before it began: the next recall does not wait for it.
func TestNobodyIsLeft(t *testing.T) {
	s := forPasses(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	q := s.searchOf(cue(0))
	running := s.passes.enlist(q)
	<-running.lead
	s.passes.mu.Lock()
	running.begun = true
	s.passes.mu.Unlock()
	var other sync.WaitGroup
	other.Go(func() {
		if _, err := s.Recall(ctx, cue(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("a recall that was given up while it waited ended with %v", err)
		}
	})
	list := q.view.list
	for newest := running; newest == running; runtime.Gosched() {
		s.passes.mu.Lock()
		newest = s.passes.newest[list]
		s.passes.mu.Unlock()
	}
	cancel()
	other.Wait()
	s.passes.leave(running, q)
	if _, err := s.Recall(t.Context(), cue(2)); err != nil || len(s.passes.newest) != 0 {
		t.Errorf("%v; %d passes are left over", err, len(s.passes.newest))
	}
}
