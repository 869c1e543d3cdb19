package proxy

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// longPending is a pending set whose every record takes a millisecond to read.
type longPending struct {
	t       *testing.T
	records int
	visited int
}

func (p *longPending) Visit(ctx context.Context, space string, visit func(*wal.Record) bool) error {
	body, err := proto.Marshal(along("", 0.5))
	if err != nil {
		p.t.Error(err)
	}
	time.Sleep(time.Millisecond / 2) // so that no record comes at the very moment of a deadline
	for i := p.records; i > 0; i-- {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		time.Sleep(time.Millisecond)
		p.visited++
		r := wal.Record{Index: uint64(i), Space: space, ID: fmt.Append(nil, i), Form: wal.FormEpisode, Payload: body}
		if !visit(&r) {
			return nil
		}
	}
	return nil
}

// hangingStore answers nobody before their context ends.
type hangingStore struct{ fakeStore }

func (*hangingStore) Recall(ctx context.Context, _ store.Query) (store.Answer, error) {
	<-ctx.Done()
	return store.Answer{}, store.Unavailable(ctx.Err())
}

// TestPendingTooLargeForTheDeadline: what is pending gets half of the time a call has, and at most its own budget. What it
// does not come to is said, and what it has seen is the newest.
func TestPendingTooLargeForTheDeadline(t *testing.T) {
	for _, row := range []struct {
		deadline time.Duration // 0 for none
		records  int
		seen     int
		partial  string
	}{
		{0, 1000, 1000, "[]"},
		{0, 5000, int(pendingBudget / time.Millisecond), "[pending]"},
		{time.Hour, 5000, int(pendingBudget / time.Millisecond), "[pending]"},
		{time.Second, 400, 400, "[]"},
		{time.Second, 5000, 500, "[pending]"},
		{10 * time.Millisecond, 5000, 5, "[pending]"},
	} {
		t.Run(fmt.Sprintf("%d records in %v", row.records, row.deadline), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &fakeJournal{} // nothing is written
				l, pending, stored := newFakeLedger(j), &longPending{t: t, records: row.records}, &fakeStore{}
				s, err := New(Config{}, Deps{Journal: j, Store: stored, Pending: pending, Settlement: l, Lanes: l})
				if err != nil {
					t.Fatal(err)
				}
				ctx := t.Context()
				if row.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, row.deadline)
					defer cancel()
				}
				answer, err := s.ask(ctx, store.Query{Space: "default", K: 5, Vector: along("", 1).GetEmbedding()})
				if err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(answer.partial) != row.partial || pending.visited != row.seen || answer.considered != row.seen {
					t.Errorf("partial %v after %d records, %d considered; want %s after %d",
						answer.partial, pending.visited, answer.considered, row.partial, row.seen)
				}
			})
		})
	}
}

// TestStoreThatHangs: a call with a deadline is answered before it, with what is here.
func TestStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &fakeJournal{}
		l, pending := newFakeLedger(j), &longPending{t: t, records: 3}
		s, err := New(Config{}, Deps{Journal: j, Store: &hangingStore{}, Pending: pending, Settlement: l, Lanes: l})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		q := store.Query{Space: "default", K: 5, Vector: along("", 1).GetEmbedding()}
		answer, err := s.ask(ctx, q)
		if err != nil || len(answer.hits) != 3 || fmt.Sprint(answer.partial) != "[store-unavailable]" {
			t.Errorf("answered %+v, %v", answer, err)
		}
		if took := time.Since(began); took >= 20*time.Second {
			t.Errorf("the answer came after %v, when the deadline was over", took)
		}
	})
}

// TestOverlayIsBounded: ids beyond the bound are not kept count of, and the answer says so.
func TestOverlayIsBounded(t *testing.T) {
	o := newOverlay(store.Query{Space: "default", K: 2, Vector: vector(1)})
	for i := range maxOverlay {
		o.versions[idKey{uint64(i), 1}] = 1
	}
	pending := &longPending{t: t, records: 3}
	if err := o.fill(t.Context(), pending, make(chan struct{}, 1)); err == nil || pending.visited != 1 {
		t.Errorf("%v after %d records", err, pending.visited)
	}
}
