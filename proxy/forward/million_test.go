package forward

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// million is a store that takes 1,000 records a second, and a journal whose records are made when they are read: a million
// of them need not be kept. It lives in a synctest bubble.
type million struct {
	mu      sync.Mutex
	settled [queue.Lanes]int
	pushed  map[uint64]time.Time     // high ones that are not yet settled
	waited  map[uint64]time.Duration // those that are
}

// millionLow is how many low ones there are, by index from 1; the high ones have the indexes above.
const millionLow = 1_000_000

func laneOfIndex(index uint64) int {
	if index > millionLow {
		return 0
	}
	return 2
}

func (m *million) Read(indexes []uint64, visit func(*wal.Record) error) error {
	for _, index := range indexes {
		session := wal.SessionID{0: byte(laneOfIndex(index)) + 1, 15: byte(index % 50)}
		r := wal.Record{
			Kind: wal.KindWrite, Form: wal.FormEpisode, Lane: wal.LaneHigh + wal.Lane(laneOfIndex(index)), Session: session,
			Sequence: index / 50, Space: "default", Payload: make([]byte, 3200), Index: index,
		}
		if err := visit(&r); err != nil {
			return err
		}
	}
	return nil
}

func (m *million) Put(_ context.Context, batch []wal.Record) []error {
	time.Sleep(time.Duration(len(batch)) * time.Millisecond)
	return make([]error, len(batch))
}

func (m *million) Settle(r *wal.Record, _ Outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settled[laneOfIndex(r.Index)]++
	if at, high := m.pushed[r.Index]; high {
		delete(m.pushed, r.Index)
		m.waited[r.Index] = time.Since(at)
	}
}

// Bury is not called: the store refuses nothing.
func (m *million) Bury(Letter) error { panic("a record died") }

func (m *million) counts() [queue.Lanes]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settled
}

// TestHighAmongAMillionLow: with a million low ones queued a high one is in the store within 150 ms of its ack. When high
// ones alone are more than the store can take, the low ones keep at least a twentieth of it.
func TestHighAmongAMillionLow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &million{pushed: map[uint64]time.Time{}, waited: map[uint64]time.Duration{}}
		q := queue.New(queue.Config{}, nil)
		f, err := New(Config{BatchItems: 1024, BatchBytes: 8 << 20}, Deps{Queue: q, Store: m, Source: m, Sink: m})
		if err != nil {
			t.Fatal(err)
		}
		q.PushRun(2, 1, millionLow, time.Now())
		stop := runUntil(t, f)
		next := uint64(millionLow)
		push := func(n uint64) {
			m.mu.Lock()
			for i := range n {
				m.pushed[next+1+i] = time.Now()
			}
			m.mu.Unlock()
			q.PushRun(0, next+1, next+n, time.Now())
			next += n
		}

		time.Sleep(5 * time.Second)
		for i := range 100 { // one in a while, at every place in a batch
			push(1)
			time.Sleep(300*time.Millisecond + time.Duration(i)*time.Millisecond)
		}
		synctest.Wait()
		for index, waited := range m.waited {
			if waited > 150*time.Millisecond {
				t.Errorf("the high one with index %d waited %v, want at most 150ms", index, waited)
			}
		}
		if len(m.waited) != 100 {
			t.Fatalf("%d high ones are delivered, want 100", len(m.waited))
		}
		if n := m.counts(); n[2] < 30_000 {
			t.Errorf("%d low ones were delivered beside them in 40 s, want nearly all of what the store takes", n[2])
		}

		flood := func(d time.Duration) {
			for range d / (100 * time.Millisecond) {
				push(120) // 1,200 a second
				time.Sleep(100 * time.Millisecond)
			}
		}
		flood(5 * time.Second)
		before := m.counts()
		flood(30 * time.Second)
		after := m.counts()
		low, all := after[2]-before[2], after[0]-before[0]+after[2]-before[2]
		if 20*low < all*99/100 || low > all/10 {
			t.Errorf("%d of %d delivered were low, want a twentieth", low, all)
		}
		stop()
	})
}

// runUntil runs f until the function that it returns is called.
func runUntil(t *testing.T, f *Forwarder) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// TestAStuckSpaceHoldsNobodyBack: whatever is sent to one space fails, by many sessions; the others are delivered about
// as fast as the store takes them.
func TestAStuckSpaceHoldsNobodyBack(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.delay = func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
		g.store.one = func(r *wal.Record) error {
			if r.Session[15] >= 100 {
				return errHiccup
			}
			return nil
		}
		g.start()
		var good []uint64
		for i := range 2000 {
			g.write(1, 100+i%20)
			good = append(good, g.write(1, 1+i%5))
		}
		pass(10 * time.Second) // the good ones alone take two
		for _, index := range good {
			g.want(index, "delivered")
		}
		g.stop()
	})
}
