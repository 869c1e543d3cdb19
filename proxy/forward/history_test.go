package forward

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// What may be wrong with a record of a history.
const (
	sound     = iota
	hiccups   // fails for a while, then is taken
	poison    // fails each time, for no reason that tells
	malformed // is refused for good
	rotten    // cannot be read back
)

// A history is what happens to a Forwarder, drawn before it begins.
type history struct {
	cfg      Config
	cached   int // records the cache has room for
	records  []recordScript
	puts     []string // what becomes of the first Puts; afterwards all is well
	noBury   int      // how many Bury calls the sink refuses
	noRead   int      // how many Read calls the journal fails
	restarts []time.Duration
}

type recordScript struct {
	session int
	what    int
	times   int           // for hiccups
	pause   time.Duration // before it is written
}

func drawHistory(t *rapid.T) history {
	h := history{
		cfg: Config{
			Parallel:   rapid.IntRange(1, 3).Draw(t, "parallel"),
			BatchItems: rapid.IntRange(1, 9).Draw(t, "batch items"),
			Tries:      rapid.SampledFrom([]int{1, 2, 10}).Draw(t, "tries"),
			PutTimeout: time.Second,
			Grace:      100 * time.Millisecond,
		},
		cached: rapid.IntRange(0, 20).Draw(t, "cached"),
		noBury: rapid.IntRange(0, 5).Draw(t, "no bury"),
		noRead: rapid.IntRange(0, 5).Draw(t, "no read"),
	}
	h.records = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) recordScript {
		return recordScript{
			session: rapid.IntRange(0, 4).Draw(t, "session"),
			what:    rapid.SampledFrom([]int{sound, sound, sound, hiccups, poison, malformed, rotten}).Draw(t, "what"),
			times:   rapid.IntRange(1, 12).Draw(t, "times"),
			pause:   rapid.SampledFrom([]time.Duration{0, 0, 0, time.Millisecond, time.Second}).Draw(t, "pause"),
		}
	}), 1, 60).Draw(t, "records")
	h.puts = rapid.SliceOfN(rapid.SampledFrom([]string{
		"take", "take", "take", "slow", "late", "gone", "denied", "lost", "half",
	}), 0, 40).Draw(t, "puts")
	h.restarts = rapid.SliceOfN(rapid.SampledFrom([]time.Duration{
		time.Millisecond, 30 * time.Millisecond, time.Second, 7 * time.Second,
	}), 0, 3).Draw(t, "restarts")
	return h
}

// scriptStore lets each Put go as the history says.
func (h *history) scriptStore(g *rig) {
	fate := func(n int) string {
		if n > len(h.puts) {
			return "take"
		}
		return h.puts[n-1]
	}
	left := map[uint64]int{}
	for i, r := range h.records {
		left[uint64(i)+1] = r.times
	}
	s := g.store
	s.delay = func(n int) time.Duration {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch fate(len(s.puts)) {
		case "slow":
			return 300 * time.Millisecond
		case "late":
			return 2 * time.Second
		}
		return time.Duration(n) * time.Millisecond
	}
	s.whole = func() error {
		s.lose = false
		switch fate(len(s.puts)) {
		case "gone":
			return errDown
		case "denied":
			return errToken
		case "lost":
			s.lose = true
			return errDown
		}
		return nil
	}
	s.after = func(_ []wal.Record, errs []error) []error {
		if fate(len(s.puts)) == "half" {
			for i := len(errs) / 2; i < len(errs); i++ {
				errs[i] = errDown
			}
		}
		return errs
	}
	s.one = func(r *wal.Record) error {
		if r.Index > uint64(len(h.records)) {
			return nil
		}
		switch h.records[r.Index-1].what {
		case hiccups:
			if left[r.Index]--; left[r.Index] >= 0 {
				return errHiccup
			}
		case poison:
			return errHiccup
		case malformed:
			return errBad
		}
		return nil
	}
}

func (h *history) scriptOthers(g *rig) {
	count := func(n *int, err error) func() error {
		return func() error {
			if *n--; *n >= 0 {
				return err
			}
			return nil
		}
	}
	noBury, noRead := h.noBury, h.noRead
	g.sink.refuse = count(&noBury, errFull)
	g.journal.broken = count(&noRead, errNoFiles)
	g.cache = queue.NewCache[wal.Record](int64(h.cached * len(secret)))
}

// play lets the history happen, and goes on with small writes until all is reported: a record is only dead while others
// succeed. It returns the first thing that is wrong.
func (h *history) play(t testing.TB) (problem error) {
	g := newRig(t, h.cfg)
	h.scriptStore(g)
	h.scriptOthers(g)
	g.start()
	for i, r := range h.records {
		pass(r.pause)
		if r.what == rotten {
			g.journal.mu.Lock()
			g.journal.bad[g.last+1] = &wal.DamageError{First: g.last + 1, Session: session(r.session), Reason: "rot"}
			g.journal.mu.Unlock()
		}
		g.write(r.session%queue.Lanes, r.session)
		if n := len(h.restarts); n > 0 && i == len(h.records)/2 {
			pass(h.restarts[0])
			h.restarts = h.restarts[1:]
			g.restart()
		}
	}
	for _, d := range h.restarts {
		pass(d)
		g.restart()
	}
	for range 3600 {
		pass(time.Second)
		if g.sink.count() == int(g.last) {
			break
		}
		if g.pending(len(h.records)) {
			g.write(1, 0)
		}
	}
	pass(10 * time.Second)
	stats := g.f.Stats()
	g.stop()
	if g.store.problem != "" {
		return errors.New(g.store.problem)
	}
	return h.check(g, stats)
}

// pending says whether one of the first n records is not reported yet.
func (g *rig) pending(n int) bool {
	g.sink.mu.Lock()
	defer g.sink.mu.Unlock()
	for index := uint64(1); index <= uint64(n); index++ {
		if len(g.sink.outcomes[index]) == 0 {
			return true
		}
	}
	return false
}

// restart stops the Forwarder and begins a new one with what is not reported, as the process does with its journal.
func (g *rig) restart() {
	g.stop()
	g.queue = queue.New(queue.Config{}, nil)
	if g.cache != nil {
		g.cache = queue.NewCache[wal.Record](0)
	}
	for index := uint64(1); index <= g.last; index++ {
		if r := g.journal.records[index]; len(g.sink.outcomes[index]) == 0 {
			g.queue.Push(int(r.Lane-wal.LaneHigh), index, time.Unix(0, r.Time))
		}
	}
	g.start()
}

func (h *history) check(g *rig, stats Stats) error {
	for index := uint64(1); index <= g.last; index++ {
		got := g.sink.outcome(index)
		want := "[delivered]"
		if int(index) <= len(h.records) {
			switch h.records[index-1].what {
			case poison, malformed:
				want = "[dead]"
			case rotten:
				want = "[damaged]"
			case hiccups:
				if got == "[dead]" && h.records[index-1].times >= h.cfg.Tries {
					want = got // it may have used up its tries before the store would have taken it
				}
			}
		}
		// What the cache still had was sent before anyone saw that the journal is rotten.
		if want == "[damaged]" && got == "[delivered]" && g.store.has[index] {
			want = got
		}
		if got != want {
			return fmt.Errorf("record %d of %d came to %s, want %s; %+v", index, g.last, got, want, stats)
		}
		if got == "[delivered]" && !g.store.has[index] {
			return fmt.Errorf("record %d is reported delivered; the store does not have it", index)
		}
		if l, ok := g.sink.letters[index]; ok {
			if least := map[int]int{malformed: 1, poison: h.cfg.Tries, hiccups: h.cfg.Tries}[h.records[index-1].what]; l.Attempts < least {
				return fmt.Errorf("record %d is dead after %d attempts, want at least %d", index, l.Attempts, least)
			}
		}
	}
	// A probe may come before those in front of it, and comes again in its turn: the last time that a record came counts.
	if err := ordered("stored last", g.store.lastly()); err != nil {
		return err
	}
	if err := ordered("reported", g.sink.order); err != nil {
		return err
	}
	if depths := g.queue.Depths(); depths != [queue.Lanes]int{} || stats.Parked != 0 || stats.InFlight != 0 || !stats.Oldest.IsZero() {
		return fmt.Errorf("all is reported, but depths are %v; %+v", depths, stats)
	}
	if g.cache.Len() != 0 {
		return fmt.Errorf("all is reported, but %d are cached", g.cache.Len())
	}
	return nil
}

func ordered(what string, records []wal.Record) error {
	last := map[wal.SessionID]uint64{}
	for _, r := range records {
		if r.Session.IsZero() {
			continue
		}
		if r.Index <= last[r.Session] {
			return fmt.Errorf("session %v: index %d was %s after %d", r.Session, r.Index, what, last[r.Session])
		}
		last[r.Session] = r.Index
	}
	return nil
}

func TestEveryHistoryEndsWell(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := drawHistory(rt)
		var problem error
		synctest.Test(t, func(t *testing.T) { problem = h.play(t) })
		if problem != nil {
			rt.Fatal(problem)
		}
	})
}

var _ Store = (*fakeStore)(nil)
