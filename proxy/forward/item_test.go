package forward

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// failing makes the store answer err to a record, the first n times it is tried; n below 0 is always.
func failing(index uint64, n int, err error) func(*wal.Record) error {
	return func(r *wal.Record) error {
		if r.Index != index || n == 0 {
			return nil
		}
		n--
		return err
	}
}

func TestAPermanentRefusalIsADeadLetterAtOnce(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.one = failing(2, -1, errBad)
		for range 3 {
			g.write(1, 1)
		}
		began := time.Now()
		g.start()
		g.settle(3)
		s := g.f.Stats()
		g.stop()
		g.want(1, "delivered")
		g.want(2, "dead")
		g.want(3, "delivered")
		l := g.sink.letters[2]
		if l.Reason != errBad.Error() || l.Attempts != 1 || !l.DiedAt.Equal(began) || l.Sequence != 2 || string(l.Payload) != secret {
			t.Errorf("letter %+v, want the record whole, the store's words and one attempt", l)
		}
		if s.Delivered != 2 || s.Dead != 1 || s.LastError.Class != "permanent" || s.Breaker.State != Closed || g.store.tries(2) != 1 {
			t.Errorf("Stats() = %+v", s)
		}
		if g.queue.Depths() != [queue.Lanes]int{} {
			t.Errorf("depths %v, want none", g.queue.Depths())
		}
		checkOrder(t, g.sink.order)
	})
}

func TestAFailureOfOneIsTriedAgainWhileOthersGoOn(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.one = failing(1, 3, errHiccup)
		for i := range 40 {
			g.write(1, 1+i%2)
		}
		g.start()
		g.settle(20)
		if s := g.f.Stats(); s.Parked == 0 || s.Parked > 20 || s.Oldest.IsZero() {
			t.Errorf("Stats() = %+v, want the first and what follows it parked", s)
		}
		if s := g.f.Stats(); s.Breaker.State != Closed {
			t.Errorf("one record's failure opened the breaker: %+v", s)
		}
		g.settle(40)
		g.stop()
		for _, r := range g.store.stored[:20] {
			if r.Session != session(2) {
				t.Errorf("index %d of session 1 was stored before all of session 2", r.Index)
			}
		}
		checkOrder(t, g.store.stored)
		if n := g.store.tries(1); n != 4 {
			t.Errorf("the first was tried %d times, want 4", n)
		}
		for index := uint64(3); index < 40; index += 2 {
			if n := g.store.tries(index); n > 2 {
				t.Errorf("record %d was sent %d times, want it to wait behind the first", index, n)
			}
		}
	})
}

func TestTenFailuresWhileOthersSucceedAreDeath(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.one = failing(1, -1, errHiccup)
		for range 5 {
			g.write(1, 1)
		}
		g.start()
		for g.sink.outcome(1) == "[]" {
			g.write(1, 2)
			pass(20 * time.Millisecond)
		}
		n := int(g.last)
		g.settle(n)
		g.stop()
		g.want(1, "dead")
		if l := g.sink.letters[1]; l.Reason != errHiccup.Error() || l.Attempts != g.store.tries(1) {
			t.Errorf("letter %+v after %d tries, want the store's words and the tries", l, g.store.tries(1))
		}
		// A try counts when another record was stored in the same Put, or since the try before. Where there was none for ten
		// tries, one behind it is sent as a probe, and stands for nine.
		counted, other := 0, false
		for _, put := range g.store.puts {
			for _, index := range put {
				other = other || g.journal.records[index].Session == session(2)
			}
			if len(put) == 1 && put[0] != 1 && g.journal.records[put[0]].Session == session(1) {
				counted, other = max(counted, 9), true
			}
			if slices.Contains(put, 1) {
				if other {
					counted++
				}
				other = false
			}
		}
		if counted != 10 {
			t.Errorf("it died after %d tries that count, of %d; want 10", counted, g.store.tries(1))
		}
		for index := uint64(2); index <= uint64(n); index++ {
			g.want(index, "delivered")
		}
		checkOrder(t, g.sink.order)
	})
}

func TestAloneNothingBecomesPermanent(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.one = failing(1, -1, errHiccup)
		g.write(1, 1)
		g.start()
		pass(24 * time.Hour)
		s := g.f.Stats()
		g.stop()
		if g.sink.count() != 0 || s.Parked != 1 || s.Breaker.State != Closed {
			t.Errorf("%d reported, %+v; want it parked and the way free for others", g.sink.count(), s)
		}
		if n := g.store.tries(1); n < 24*3600/5 || n > 24*3600 {
			t.Errorf("tried %d times in a day, want about one in 2.5 s", n)
		}
	})
}

// A record that always fails, with nothing but its own session there, is told from an outage by those behind it.
func TestAPoisonedRecordDoesNotHoldItsSessionForEver(t *testing.T) {
	for _, poisoned := range [][]uint64{{1}, {1, 2}, {1, 3}, {1, 2, 3, 4}} {
		bubble(t, Config{}, func(t *testing.T, g *rig) {
			g.store.one = func(r *wal.Record) error {
				if slices.Contains(poisoned, r.Index) {
					return errHiccup
				}
				return nil
			}
			for range 5 {
				g.write(1, 1)
			}
			g.start()
			g.settle(5)
			s := g.f.Stats()
			g.stop()
			for i := uint64(1); i <= 5; i++ {
				if !slices.Contains(poisoned, i) {
					g.want(i, "delivered")
					continue
				}
				g.want(i, "dead")
				if n := g.store.tries(i); n < 11 {
					t.Errorf("poisoned %v: %d is dead after %d tries, want ten and one more at least", poisoned, i, n)
				}
			}
			if s.Breaker.State != Closed || s.Parked != 0 {
				t.Errorf("poisoned %v: %+v", poisoned, s)
			}
			checkOrder(t, g.sink.order)
		})
	}
}

// The same failure of every record, in one session alone, is an outage however long it lasts: what is behind fails too.
func TestOneSessionInAnOutageBuriesNothing(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		up := time.Now().Add(6 * time.Hour)
		g.store.one = func(*wal.Record) error {
			if time.Now().Before(up) {
				return errHiccup
			}
			return nil
		}
		for range 100 {
			g.write(1, 1)
		}
		g.start()
		pass(3 * time.Hour)
		if n := len(g.store.sent()); n > 3*3600*2 {
			t.Errorf("%d Puts in three hours, want at most a try and a probe in 2.5 s or so", n)
		}
		if spans := len(g.f.lot.find(1).behind); spans != 1 {
			t.Errorf("what waits behind is %d spans, want one", spans)
		}
		g.settle(100)
		g.stop()
		if len(g.sink.letters) != 0 {
			t.Errorf("%d are buried", len(g.sink.letters))
		}
		checkOrder(t, g.sink.order)
	})
}

func TestRecordsWithoutASessionParkAlone(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.one = failing(1, 5, errHiccup)
		for range 10 {
			g.write(1, 0)
		}
		g.start()
		g.settle(9)
		if g.sink.outcome(1) != "[]" || g.f.Stats().Parked != 1 {
			t.Errorf("record 1 came to %v; %+v; want it alone to wait", g.sink.outcome(1), g.f.Stats())
		}
		g.settle(10)
		g.stop()
	})
}

func TestWhatIsBehindWaitsInItsLane(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.one = failing(1, 1, errHiccup)
		g.write(2, 1)
		for range 3 {
			g.write(2, 1)
			g.write(2, 2)
		}
		g.start()
		g.settle(7)
		g.stop()
		var got []uint64
		for _, r := range g.store.stored {
			if r.Session == session(1) {
				got = append(got, r.Index)
			}
		}
		if !slices.Equal(got, []uint64{1, 2, 4, 6}) {
			t.Errorf("session 1 was stored as %v, want 1 2 4 6", got)
		}
	})
}

func TestDamageIsReportedAndTheRestGoesOn(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		for range 6 {
			g.write(0, 1)
		}
		g.journal.bad[2] = &wal.DamageError{File: "f", First: 2, Last: 2, Session: session(1), Sequence: 2, Reason: "checksum"}
		g.journal.bad[4] = fmt.Errorf("%w: nothing is known", wal.ErrDamaged)
		g.journal.bad[5] = fmt.Errorf("%w: 5", wal.ErrNotFound)
		g.store.one = failing(1, 2, errHiccup) // what is damaged waits for its turn in the session, where that is known
		g.start()
		g.settle(5)
		s := g.f.Stats()
		g.stop()
		for index, want := range map[uint64]string{1: "delivered", 2: "damaged", 3: "delivered", 4: "damaged", 6: "delivered"} {
			g.want(index, want)
		}
		if got := g.sink.outcome(5); got != "[]" {
			t.Errorf("what the journal no longer has was reported: %v", got)
		}
		if s.Damaged != 2 || s.Delivered != 3 || g.queue.Depths() != [queue.Lanes]int{} {
			t.Errorf("Stats() = %+v, depths %v", s, g.queue.Depths())
		}
		checkOrder(t, g.sink.order)
		reported := func(index uint64) int {
			return slices.IndexFunc(g.sink.order, func(r wal.Record) bool { return r.Index == index })
		}
		if reported(2) < reported(1) {
			t.Error("the damaged record was reported before the one it follows in its session")
		}
		for _, r := range g.sink.order {
			if r.Lane != wal.LaneHigh {
				t.Errorf("record %d is reported with lane %v, want high", r.Index, r.Lane)
			}
		}
		if n := strings.Count(g.log.String(), "damaged in the journal"); n != 2 {
			t.Errorf("%d lines about damage, want one for each:\n%s", n, g.log.String())
		}
	})
}

func TestAStoreThatTriesNothingIsAnOutage(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		up := time.Now().Add(time.Hour)
		g.store.one = func(*wal.Record) error {
			if time.Now().Before(up) {
				return store.ErrBehind
			}
			return nil
		}
		for i := range 1000 {
			g.write(1, i%10)
		}
		g.start()
		pass(30 * time.Minute)
		if s, n := g.f.Stats(), len(g.store.sent()); s.Breaker.State == Closed || n > 3600 {
			t.Errorf("%+v after %d Puts, want the breaker open", s, n)
		}
		g.settle(1000)
		g.stop()
		checkOrder(t, g.store.stored)
	})
}
