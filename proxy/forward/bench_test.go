package forward

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// willing is a store, and a sink, that takes everything at once.
type willing struct {
	errs []error
	left int
	done sync.WaitGroup
}

func (w *willing) Put(_ context.Context, batch []wal.Record) []error {
	for len(w.errs) < len(batch) {
		w.errs = append(w.errs, nil)
	}
	return w.errs[:len(batch)]
}

func (w *willing) Settle(*wal.Record, Outcome) {
	if w.left--; w.left == 0 {
		w.done.Done()
	}
}

func (w *willing) Bury(Letter) error { return nil }

// BenchmarkForward is what the dispatcher itself costs for each record, with all of them in the cache.
func BenchmarkForward(b *testing.B) {
	q, cache := queue.New(queue.Config{}, nil), queue.NewCache[wal.Record](1<<40)
	w := &willing{left: b.N}
	w.done.Add(1)
	payload := make([]byte, 3200)
	at := time.Now()
	for i := range uint64(b.N) {
		r := wal.Record{Index: i + 1, Session: session(int(i % 4)), Payload: payload}
		cache.Put(r.Index, r, len(payload))
		q.Push(1, r.Index, at)
	}
	f, err := New(Config{}, Deps{Queue: q, Cache: cache, Store: w, Source: &fakeJournal{}, Sink: w})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	running.Go(func() { _ = f.Run(ctx) })
	w.done.Wait()
	b.StopTimer()
	cancel()
	running.Wait()
}
