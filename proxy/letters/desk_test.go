package letters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// picky is a store that answers by memory id; what it has no answer for it takes.
type picky struct {
	mu      sync.Mutex
	answers map[string]error
	got     []string
	busy    int
	during  func() // called in Put
}

func (p *picky) Put(_ context.Context, batch []wal.Record) []error {
	p.mu.Lock()
	p.busy++
	during := p.during
	p.mu.Unlock()
	if during != nil {
		during()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	errs := make([]error, len(batch))
	var refused wal.SessionID
	for i := range batch {
		id := string(batch[i].ID)
		if !refused.IsZero() && batch[i].Session == refused {
			errs[i] = store.ErrBehind
			continue
		}
		p.got = append(p.got, id)
		if errs[i] = p.answers[id]; store.ClassOf(errs[i]) == store.ClassTransient {
			refused = batch[i].Session
		}
	}
	return errs
}

// room is a desk over a real journal and ledger.
type room struct {
	*Desk
	t     *testing.T
	state *recovery.State
	store *picky
	n     uint64
}

func newRoom(t *testing.T) *room {
	t.Helper()
	s, err := recovery.Open(recovery.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &picky{answers: map[string]error{}}
	return &room{Desk: NewDesk(Deps{Ledger: s.Ledger, Journal: s.Journal, Store: p}), t: t, state: s, store: p}
}

// write makes a record durable and returns it.
func (r *room) write(session byte, id string) wal.Record {
	r.t.Helper()
	r.n++
	rec := wal.Record{
		Kind: wal.KindWrite, Form: wal.FormEpisode, Lane: wal.LaneNormal, Session: wal.SessionID{session}, Sequence: r.n,
		Space: "default", ID: []byte(id), Payload: []byte("what " + id + " says"),
	}
	if session == 0 {
		rec.Sequence = 0
	}
	if _, err := r.state.Journal.Write(context.Background(), &rec); err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// dead buries writes with these ids and returns their indexes.
func (r *room) dead(session byte, ids ...string) (indexes []uint64) {
	r.t.Helper()
	for _, id := range ids {
		rec := r.write(session, id)
		if err := r.state.Ledger.Bury(ledger.Letter{Record: rec, Reason: "No: " + id, Attempts: 1}); err != nil {
			r.t.Fatal(err)
		}
		indexes = append(indexes, rec.Index)
	}
	return indexes
}

// told is a result as id and outcome.
func told(out admin.LetterResults) (all []string) {
	for _, l := range out.Results {
		all = append(all, l.ID+" "+l.Outcome)
	}
	return all
}

func (r *room) replays(sel admin.Selection, want ...string) admin.LetterResults {
	r.t.Helper()
	out, err := r.Replay(r.t.Context(), sel)
	if got := told(out); err != nil || !slices.Equal(got, want) {
		r.t.Fatalf("replay %+v: %q, %v, want %q", sel, got, err, want)
	}
	return out
}

func (r *room) balanced(want wal.Tally) {
	r.t.Helper()
	if got := r.state.Ledger.Balance().Tally; got != want {
		r.t.Fatalf("balance %+v, want %+v", got, want)
	}
}

func TestReplayDeliversOnce(t *testing.T) {
	r := newRoom(t)
	at := r.dead(1, "a", "b", "c")
	r.replays(admin.Selection{Indexes: []uint64{at[1], at[1]}}, "b delivered")
	r.replays(admin.Selection{Indexes: at[1:2]}, " missing")
	r.replays(admin.Selection{All: true}, "a delivered", "c delivered")
	r.replays(admin.Selection{All: true})
	if want := []string{"b", "a", "c"}; !slices.Equal(r.store.got, want) {
		t.Errorf("the store got %q, want %q", r.store.got, want)
	}
	r.balanced(wal.Tally{Accepted: 3, Delivered: 3})
}

func TestSelections(t *testing.T) {
	r := newRoom(t)
	at := r.dead(1, "a", "b", "ab")
	for _, c := range []struct {
		sel  admin.Selection
		want string
	}{
		{admin.Selection{}, "a b ab"},
		{admin.Selection{ID: "b"}, "b"},
		{admin.Selection{Space: "default", Reason: "nO: a"}, "a ab"},
		{admin.Selection{Space: "other"}, ""},
		{admin.Selection{Indexes: []uint64{at[2], at[0], 9999}}, "a ab"},
		{admin.Selection{Indexes: at, ID: "ab"}, "ab"},
	} {
		page, err := r.List(c.sel, 0, 10)
		var ids []string
		for _, l := range page.Letters {
			ids = append(ids, l.ID)
		}
		if got := strings.Join(ids, " "); err != nil || got != c.want || page.Count != 3 || page.Next != 0 {
			t.Errorf("%+v: %q (%+v), %v, want %q", c.sel, got, page, err, c.want)
		}
	}
	page, err := r.List(admin.Selection{}, at[0], 1)
	if err != nil || len(page.Letters) != 1 || page.Letters[0].ID != "b" || page.Next != at[1] {
		t.Errorf("second page %+v, %v", page, err)
	}
}

func TestRefusedAgainKeepsTheNewestWords(t *testing.T) {
	r := newRoom(t)
	at := r.dead(1, "a")
	r.store.answers["a"] = store.Permanent(errors.New("still no"))
	r.replays(admin.Selection{All: true}, "a refused")
	l, err := r.state.Ledger.Letter(at[0])
	if err != nil || l.Reason != "still no" || l.Attempts != 2 || time.Since(l.DiedAt) > time.Hour || string(l.Payload) != "what a says" {
		t.Errorf("letter %+v, %v", l, err)
	}
	r.balanced(wal.Tally{Accepted: 1, Dead: 1})
}

func TestOneThatFailsHoldsItsSessionAlone(t *testing.T) {
	r := newRoom(t)
	r.dead(1, "a", "b")
	r.dead(2, "c")
	r.store.answers["a"] = errors.New("hiccup")
	r.replays(admin.Selection{All: true}, "a failed", "c delivered", "b delivered")
	r.balanced(wal.Tally{Accepted: 3, Delivered: 2, Dead: 1})
}

func TestOutageEndsAReplay(t *testing.T) {
	for _, outage := range []error{store.Unavailable(errors.New("gone")), store.Denied(errors.New("who are you"))} {
		r := newRoom(t)
		r.dead(0, "a", "b", "c")
		r.store.answers["b"] = outage
		out, err := r.Replay(t.Context(), admin.Selection{All: true})
		if got := told(out); !errors.Is(err, outage) || !slices.Equal(got, []string{"a delivered", "b failed", " not tried"}) {
			t.Errorf("%q, %v", got, err)
		}
		r.balanced(wal.Tally{Accepted: 3, Delivered: 1, Dead: 2})
	}
}

func TestSupersededIsNotReplayed(t *testing.T) {
	r := newRoom(t)
	at := r.dead(1, "a", "b")
	elsewhere := r.write(1, "b")
	r.write(2, "a")
	r.replays(admin.Selection{All: true}, "a superseded", "b superseded")
	if len(r.store.got) != 0 || elsewhere.Index <= at[1] {
		t.Errorf("the store got %q", r.store.got)
	}
	r.dead(1, "a") // the newest of its id, itself a letter
	r.replays(admin.Selection{ID: "a"}, "a superseded", "a delivered")
}

// A newer version that is accepted after the first look, and delivered at once, is seen too: nothing is delivered while the
// store is asked.
func TestSupersededWhileReplaying(t *testing.T) {
	r := newRoom(t)
	turns := &Turns{}
	r.Turns = turns
	var ids []string
	for i := range atOnce {
		ids = append(ids, fmt.Sprint("first-", i))
	}
	r.dead(0, append(ids, "late")...)
	deliver := turns.Take(r.store)
	var wg sync.WaitGroup
	once := sync.Once{}
	r.store.during = func() {
		once.Do(func() {
			newer := r.write(0, "late")
			wg.Go(func() { deliver.Put(context.Background(), []wal.Record{newer}) })
		})
	}
	out, err := r.Replay(t.Context(), admin.Selection{All: true})
	wg.Wait()
	if got := told(out); err != nil || got[len(got)-1] != "late superseded" {
		t.Errorf("%q, %v", got, err)
	}
	n := 0
	for _, id := range r.store.got {
		if id == "late" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("late came to the store %d times, want the newer one alone", n)
	}
}

func TestDeliveriesWaitForAReplay(t *testing.T) {
	r := newRoom(t)
	turns := &Turns{}
	r.Turns = turns
	r.dead(0, "a")
	r.store.during = func() {
		time.Sleep(time.Millisecond)
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		if r.store.busy != 1 {
			t.Errorf("%d ask the store at once", r.store.busy)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { turns.Take(r.store).Put(context.Background(), []wal.Record{{ID: []byte("x")}}) })
	r.replays(admin.Selection{All: true}, "a delivered")
	wg.Wait()
}

func TestDrop(t *testing.T) {
	r := newRoom(t)
	at := r.dead(1, "a", "b")
	out, err := r.Drop(t.Context(), admin.Selection{Indexes: []uint64{at[0], 77}})
	if got := told(out); err != nil || !slices.Equal(got, []string{" missing", "a dropped"}) {
		t.Errorf("%q, %v", got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	out, err = r.Drop(ended, admin.Selection{All: true})
	if got := told(out); !errors.Is(err, context.Canceled) || len(got) > 0 && !slices.Equal(got, []string{" not tried"}) {
		t.Errorf("%q, %v", got, err)
	}
	r.balanced(wal.Tally{Accepted: 2, Dead: 1, Dropped: 1})
}

func TestTheDeskServesOneAtATime(t *testing.T) {
	r := newRoom(t)
	r.dead(0, "a")
	r.busy <- struct{}{}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Replay(ended, admin.Selection{All: true}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "under way") {
		t.Errorf("%v", err)
	}
	if _, err := r.Drop(ended, admin.Selection{All: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-r.busy
	r.replays(admin.Selection{All: true}, "a delivered")
}
