package recovery

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// Everything at once: sessions write, others come and go, writes are delivered, buried and resolved, and the keeper releases
// what it can, again and again. What is told afterwards, with the ledger and without, is what was done.
func TestKeeperUnderLoad(t *testing.T) {
	const sessions, each = 4, 150
	type accepted struct {
		wal.Record
	}
	committed := make(chan accepted, sessions*each)
	o := small(memoryDir(t))
	o.Journal.OnCommit = func(c *wal.Commit) {
		for _, r := range c.Records {
			if r.Kind == wal.KindWrite {
				committed <- accepted{r}
			}
		}
	}
	h := openWith(t, o)
	var writers sync.WaitGroup
	for n := byte(1); n <= sessions; n++ {
		h.begin(n)
		writers.Go(func() {
			for i := range uint64(each) {
				r := observation(n, i+1, 3000)
				if i%7 == 0 {
					r.Space = "elsewhere"
				}
				if _, err := h.Journal.Write(context.Background(), &r); err != nil {
					t.Error(err)
					return
				}
				passing := wal.SessionID{n, byte(i), 77}
				if _, err := h.Journal.Write(context.Background(), &wal.Record{Kind: wal.KindSessionOpened, Session: passing, Space: "default", Lane: wal.LaneLow}); err != nil {
					t.Error(err)
				}
				if i%2 == 0 {
					if _, err := h.Journal.Write(context.Background(), &wal.Record{Kind: wal.KindSessionExpired, Session: passing}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	var want wal.Tally
	var store sync.WaitGroup
	store.Go(func() {
		for a := range committed {
			want.Accepted++
			switch want.Accepted % 61 {
			case 0: // stays pending
			case 1, 30:
				want.Dead++
				if err := h.Ledger.Bury(ledger.Letter{Record: a.Record, Reason: "no"}); err != nil {
					t.Error(err)
				}
			case 3, 4, 33:
				want.Dropped++
				err := errors.Join(h.Ledger.Bury(ledger.Letter{Record: a.Record, Reason: "no"}), h.Ledger.Resolve(context.Background(), h.Journal, a.Index, wal.Dropped))
				if err != nil {
					t.Error(err)
				}
			default:
				want.Delivered++
				if !h.Ledger.Settle(a.Index, a.Session, wal.Delivered) {
					t.Errorf("%d was not pending", a.Index)
				}
			}
		}
	})
	stop := make(chan struct{})
	var keeper sync.WaitGroup
	keeper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				h.round()
			}
		}
	})
	writers.Wait()
	close(committed)
	store.Wait()
	close(stop)
	keeper.Wait()
	h.round()
	check := func(when string) {
		t.Helper()
		if got := h.Ledger.Balance(); got.Tally != want || got.Pending != want.Pending() {
			t.Fatalf("%s: balance %+v, want %+v", when, got, want)
		}
		if n := len(h.Ledger.Sessions()); n != sessions+sessions*each/2 {
			t.Fatalf("%s: %d sessions", when, n)
		}
		for n := byte(1); n <= sessions; n++ {
			if last := h.lastOf(n); last != each {
				t.Fatalf("%s: session %d at %d", when, n, last)
			}
		}
		if n := len(h.Ledger.Letters()); uint64(n) != want.Dead {
			t.Fatalf("%s: %d letters", when, n)
		}
		for _, s := range h.Ledger.Sessions() {
			if s.Space != "default" {
				t.Fatalf("%s: session %+v", when, s)
			}
		}
	}
	check("told")
	if gens := h.Journal.Generations(); uint64(len(gens)) > gens[len(gens)-1].Number*3/4 {
		t.Fatalf("%d of %d generations are still there: nothing is tested", len(gens), gens[len(gens)-1].Number)
	}
	h = h.reopen()
	check("at the next start")
	h.close()
	loseLedger(t, h.dir)
	h = openDir(t, h.dir)
	b := h.Ledger.Balance()
	if b.Accepted != want.Accepted || b.Dropped != want.Dropped || len(h.Sessions) != sessions+sessions*each/2 || len(h.Report.Damages) != 0 {
		t.Fatalf("without the ledger: balance %+v, want %+v; %d sessions", b, want, len(h.Sessions))
	}
}
