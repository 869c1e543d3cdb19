package forward

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestEverythingIsDelivered(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.cache = queue.NewCache[wal.Record](10 * int64(len(secret))) // of ten records; the others are read back
		for i := range 100 {
			g.write(i%queue.Lanes, i%queue.Lanes) // session 0 is none
		}
		g.start()
		g.settle(100)
		s := g.f.Stats()
		g.stop()
		for index := uint64(1); index <= 100; index++ {
			g.want(index, "delivered")
		}
		if s.Delivered != 100 || s.Dead+s.Damaged+s.Retried != 0 || s.InFlight+s.Parked != 0 || !s.Oldest.IsZero() {
			t.Errorf("Stats() = %+v, want 100 delivered and nothing else", s)
		}
		if g.queue.Depths() != [queue.Lanes]int{} || g.cache.Len() != 0 {
			t.Errorf("depths %v, %d cached, want none", g.queue.Depths(), g.cache.Len())
		}
		read := 0
		for _, indexes := range g.journal.reads {
			read += len(indexes)
		}
		if read != 90 {
			t.Errorf("%d records were read back, want the 90 that the cache had no room for", read)
		}
	})
}

func TestHighGoesFirst(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.delay = func(n int) time.Duration { return time.Duration(n) * 10 * time.Millisecond } // 100 a second
		for range 1000 {
			g.write(2, 1)
		}
		g.start()
		defer func() { g.stop() }()
		g.settle(200) // the window has found its size
		high := g.write(0, 2)
		began := time.Now()
		for g.sink.outcome(high) == "[]" {
			pass(time.Millisecond)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("a high record took %v behind a low backlog, want at most the window and its own", took)
		}
	})
}

func TestBatchesKeepTheirLimits(t *testing.T) {
	bubble(t, Config{BatchItems: 4, BatchBytes: 3 * len(secret+"default")}, func(t *testing.T, g *rig) {
		for range 10 {
			g.write(1, 1)
		}
		big := g.journal.records[5]
		big.Payload = make([]byte, 10*len(secret))
		g.journal.records[5] = big
		g.start()
		g.settle(10)
		g.stop()
		if got, want := fmt.Sprint(g.store.puts), "[[1 2 3] [4] [5] [6 7 8] [9 10]]"; got != want {
			t.Errorf("batches %v, want %v: by bytes, and what is larger alone", got, want)
		}
	})
	bubble(t, Config{BatchItems: 4}, func(t *testing.T, g *rig) {
		for range 10 {
			g.write(1, 1)
		}
		g.start()
		g.settle(10)
		g.stop()
		if got, want := fmt.Sprint(g.store.puts), "[[1 2 3 4] [5 6 7 8] [9 10]]"; got != want {
			t.Errorf("batches %v, want %v: by count", got, want)
		}
	})
}

func TestLittleIsReadAheadOfLargeRecords(t *testing.T) {
	bubble(t, Config{BatchBytes: 1 << 20}, func(t *testing.T, g *rig) {
		for range 64 {
			r := g.journal.records[g.write(1, 1)]
			r.Payload = make([]byte, 256<<10-len(r.Space))
			g.journal.records[r.Index] = r
		}
		g.start()
		g.settle(64)
		g.stop()
		read := 0
		for _, indexes := range g.journal.reads {
			read += len(indexes)
		}
		if read > 64+loadAtOnce+16 { // the first time nobody knows how large they are; later it is one too many each time
			t.Errorf("%d records were read to send 64", read)
		}
		if len(g.store.puts) != 16 {
			t.Errorf("%d Puts, want 16 of 1 MiB", len(g.store.puts))
		}
	})
}

func TestWhatDoesNotFitGoesBackInOrder(t *testing.T) {
	bubble(t, Config{BatchBytes: 20*len(secret+"default") + 1}, func(t *testing.T, g *rig) {
		for range 200 {
			g.write(1, 1)
		}
		g.start()
		g.settle(200)
		g.stop()
		checkOrder(t, g.store.stored)
		if len(g.store.puts) != 10 {
			t.Errorf("%d Puts, want 10 of twenty records", len(g.store.puts))
		}
	})
}

func TestParallelPutsDivideBySession(t *testing.T) {
	bubble(t, Config{Parallel: 4, BatchItems: 8}, func(t *testing.T, g *rig) {
		g.store.delay = func(int) time.Duration { return 10 * time.Millisecond }
		for i := range 400 {
			g.write(1, i%9) // session 0: none
		}
		began := time.Now()
		g.start()
		g.settle(400)
		g.stop()
		for i, put := range g.store.puts {
			if len(put) > 8 {
				t.Errorf("Put %d has %d records, want at most 8", i, len(put))
			}
		}
		if took := time.Since(began); took > 400*time.Millisecond {
			t.Errorf("400 records took %v: the Puts do not run side by side", took)
		}
		checkOrder(t, g.store.stored)
	})
}

// checkOrder wants the records of each session in the order of their sequence.
func checkOrder(t testing.TB, records []wal.Record) {
	t.Helper()
	last := map[wal.SessionID]uint64{}
	for _, r := range records {
		if !r.Session.IsZero() && r.Sequence <= last[r.Session] {
			t.Errorf("session %v: sequence %d came after %d", r.Session, r.Sequence, last[r.Session])
		}
		last[r.Session] = r.Sequence
	}
}

func TestACleanStopReportsWhatWasAnswered(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.delay = func(int) time.Duration { return 5 * time.Second }
		for range 100 {
			g.write(1, 1)
		}
		g.start()
		pass(time.Second)
		if s := g.f.Stats(); s.InFlight != 64 || s.Oldest.IsZero() {
			t.Errorf("%d in flight, the oldest of %v, want the first window of 64", s.InFlight, s.Oldest)
		}
		g.stop()
		if g.sink.count() != 64 || len(g.store.puts) != 1 {
			t.Errorf("%d reported after %d Puts, want the 64 of the Put in flight", g.sink.count(), len(g.store.puts))
		}
		if got := g.queue.Waiting(); got != 36 {
			t.Errorf("%d wait, want the other 36", got)
		}
	})
}

func TestAStopWaitsNoLongerThanTheGracePeriod(t *testing.T) {
	bubble(t, Config{Grace: 3 * time.Second, PutTimeout: time.Hour}, func(t *testing.T, g *rig) {
		g.store.delay = func(int) time.Duration { return 20 * time.Minute }
		g.write(1, 1)
		g.start()
		pass(time.Second)
		began := time.Now()
		g.stop()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("the stop took %v, want 3s", took)
		}
		s := g.f.Stats()
		if g.sink.count() != 0 || g.queue.Waiting() != 1 || s.Breaker.State != Closed || s.LastError.Text != "" {
			t.Errorf("%d reported, %d wait, %+v; want it to wait, and no failure", g.sink.count(), g.queue.Waiting(), s)
		}
	})
}

func TestAStopWhileNothingIsSent(t *testing.T) {
	for name, prepare := range map[string]func(g *rig){
		"idle":             func(*rig) {},
		"the breaker open": func(g *rig) { g.store.whole = func() error { return errDown }; g.write(1, 1) },
		"one parked":       func(g *rig) { g.store.one = func(*wal.Record) error { return errHiccup }; g.write(1, 1) },
		"the queue closed": func(g *rig) { g.queue.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, g *rig) {
				prepare(g)
				g.start()
				pass(time.Minute)
				began := time.Now()
				g.stop()
				if took := time.Since(began); took != 0 {
					t.Errorf("the stop took %v, want no time", took)
				}
			})
		})
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	g := newRig(t, Config{})
	deps := Deps{Queue: g.queue, Store: g.store, Source: g.journal, Sink: g.sink}
	if _, err := New(Config{BatchItems: -1}, deps); err == nil || !strings.Contains(err.Error(), "forward-batch-items -1") {
		t.Errorf("New: %v, want the key and the value", err)
	}
	for _, missing := range []func(*Deps){
		func(d *Deps) { d.Queue = nil }, func(d *Deps) { d.Store = nil }, func(d *Deps) { d.Source = nil }, func(d *Deps) { d.Sink = nil },
	} {
		d := deps
		missing(&d)
		if _, err := New(Config{}, d); err == nil {
			t.Error("New takes a missing part")
		}
	}
	if _, err := New(Config{}, deps); err != nil {
		t.Errorf("New without a cache and a logger: %v", err)
	}
}

func TestAStoreThatMiscountsIsAnOutage(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.after = func(_ []wal.Record, errs []error) []error {
			if len(g.store.puts) < 5 {
				return errs[:len(errs)-1]
			}
			return errs
		}
		for range 10 {
			g.write(1, 1)
		}
		g.start()
		g.settle(10)
		s := g.f.Stats()
		g.stop()
		if s.Delivered != 10 || s.Dead != 0 || s.LastError.Text != "the store gave 0 answers to 1 records" {
			t.Errorf("Stats() = %+v, want 10 delivered after an error that counts the answers", s)
		}
	})
}

func TestAPutThatTakesTooLongIsAnOutage(t *testing.T) {
	bubble(t, Config{PutTimeout: time.Second}, func(t *testing.T, g *rig) {
		g.store.delay = func(int) time.Duration {
			if len(g.store.puts) < 4 {
				return time.Minute
			}
			return 0
		}
		for range 10 {
			g.write(1, 0)
		}
		g.start()
		pass(1500 * time.Millisecond)
		if s := g.f.Stats(); s.Breaker.State == Closed || s.Breaker.Reason != "unavailable" || s.LastError.Text != context.DeadlineExceeded.Error() {
			t.Errorf("Stats() = %+v, want the breaker open for a store that is not there in time", s)
		}
		g.settle(10)
		g.stop()
		if n := len(g.sink.letters); n != 0 {
			t.Errorf("%d were buried", n)
		}
	})
}
