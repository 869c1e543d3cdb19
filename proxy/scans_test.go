package proxy

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// slowPending is a pending set that takes until released to look through.
type slowPending struct {
	visiting atomic.Int32
	released chan struct{}
}

func (p *slowPending) Visit(context.Context, string, func(*wal.Record) bool) error {
	p.visiting.Add(1)
	defer p.visiting.Add(-1)
	<-p.released
	return nil
}

func TestRecallWithoutASlotShowsWhatTheStoreHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &fakeJournal{} // nothing is written
		l, pending, stored := newFakeLedger(j), &slowPending{released: make(chan struct{})}, &fakeStore{}
		stored.set(func(store.Query) (store.Answer, error) {
			return store.Answer{Hits: []store.Hit{hitOf(t, 0, along("stored", 0.5), 0.5)}}, nil
		})
		s, err := New(Config{}, Deps{Journal: j, Store: stored, Pending: pending, Settlement: l, Lanes: l})
		if err != nil {
			t.Fatal(err)
		}
		answers := make(chan string)
		ask := func() {
			answer, err := s.ask(t.Context(), store.Query{Space: "default", K: 5, Vector: vector(1)})
			if err != nil || len(answer.hits) != 1 {
				t.Errorf("%v, %v", answer, err)
			}
			answers <- fmt.Sprint(answer.partial)
		}
		for range maxScans + 2 {
			go ask()
		}
		synctest.Wait()
		if n := pending.visiting.Load(); n != maxScans {
			t.Fatalf("%d look through the pending records at a time, want %d", n, maxScans)
		}
		for range 2 {
			if got := <-answers; got != "[pending]" { // the clock moves on while all wait
				t.Errorf("without a slot: %s is missing", got)
			}
		}
		close(pending.released)
		for range maxScans {
			if got := <-answers; got != "[]" {
				t.Errorf("with a slot: %s is missing", got)
			}
		}
		go ask()
		if got := <-answers; got != "[]" {
			t.Errorf("after the others: %s is missing", got)
		}
	})
}

func TestRecallWithoutASlotHeedsItsDeadline(t *testing.T) {
	e := newEdge(t, Config{})
	for range maxScans {
		e.scans <- struct{}{}
	}
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if _, err := e.ask(ctx, store.Query{Space: "default", K: 5, Vector: vector(1)}); err == nil {
		t.Error("a recall that was given up was answered")
	}
}
