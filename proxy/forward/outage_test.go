package forward

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestAnOutageOfHoursBuriesNothing(t *testing.T) {
	for _, row := range []struct {
		name   string
		err    error
		reason string
		lose   bool // what is sent is stored all the same
	}{
		{"the store is gone", errDown, "unavailable", false},
		{"the token has expired", errToken, "denied", false},
		{"the answers are lost", errDown, "unavailable", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, g *rig) {
				up := time.Now().Add(6 * time.Hour)
				g.store.lose = row.lose
				g.store.whole = func() error {
					if time.Now().Before(up) {
						return row.err
					}
					return nil
				}
				for i := range 1000 {
					g.write(i%3, 1+i%3)
				}
				began := time.Now()
				g.start()
				pass(3 * time.Hour)
				s := g.f.Stats()
				if s.Breaker.State == Closed || s.Breaker.Reason != row.reason || !s.Breaker.Since.Equal(began) {
					t.Errorf("breaker %+v, want it not closed since %v for %q", s.Breaker, began, row.reason)
				}
				if s.LastError.Text != row.err.Error() || s.LastError.Class != row.reason || s.Delivered+s.Dead != 0 || !s.Oldest.Equal(began) {
					t.Errorf("Stats() = %+v, want the store's words and nothing reported", s)
				}
				probes := g.store.sent()
				if n := len(probes); n < 3*3600/5 || n > 3*3600 {
					t.Errorf("%d Puts in three hours, want one in 5 s or somewhat more", n)
				}
				for _, put := range probes[1:] {
					if len(put) != 1 {
						t.Fatalf("a probe of %d records", len(put))
					}
				}
				g.settle(1000)
				s = g.f.Stats()
				g.stop()
				if s.Delivered != 1000 || s.Breaker.State != Closed || s.Breaker.Since.Before(up) || s.Breaker.Since.After(up.Add(6*time.Second)) {
					t.Errorf("after the outage: %+v, want 1000 delivered and the breaker closed within 6 s", s)
				}
				checkOrder(t, g.store.stored)
				checkOrder(t, g.sink.order)
				if lines := bytes.Count(g.log.Bytes(), []byte("\n")); lines != 2 {
					t.Errorf("an outage is %d lines in the log, want 2:\n%s", lines, g.log.Bytes())
				}
			})
		})
	}
}

func TestWhatWasAnsweredBeforeTheOutageCounts(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		first := true
		g.store.after = func(batch []wal.Record, errs []error) []error {
			if first && len(batch) == 10 {
				first = false
				for i := 4; i < len(errs); i++ {
					errs[i] = errDown
				}
				errs[7] = nil    // out of order: it may not be reported before those it follows
				errs[8] = errBad // nor this
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
		if got, want := fmt.Sprint(g.store.puts), "[[1 2 3 4 5 6 7 8 9 10] [5] [6 7 8 9 10]]"; got != want {
			t.Errorf("Puts %v, want %v: the rest again, a probe first", got, want)
		}
		if s.Delivered != 10 || s.Retried != 6 {
			t.Errorf("%d delivered, %d retried, want 10 and 6", s.Delivered, s.Retried)
		}
		checkOrder(t, g.sink.order)
	})
}

func TestAStoreThatFailsWithEverythingIsAnOutage(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		up := time.Now().Add(time.Hour)
		g.store.one = func(*wal.Record) error {
			if time.Now().Before(up) {
				return errHiccup
			}
			return nil
		}
		for i := range 2000 {
			g.write(1, i%500)
		}
		g.start()
		pass(30 * time.Minute)
		s := g.f.Stats()
		if s.Breaker.State == Closed || s.Breaker.Reason != "transient" || s.LastError.Class != "transient" || s.Dead != 0 {
			t.Errorf("Stats() = %+v, want the breaker open and nothing buried", s)
		}
		if n := len(g.store.sent()); n > 3600 {
			t.Errorf("%d Puts in half an hour, want a probe now and then", n)
		}
		if s.Parked == 0 || s.Parked > 2000 {
			t.Errorf("%d are parked, want some", s.Parked)
		}
		g.settle(2000)
		s = g.f.Stats()
		g.stop()
		if s.Delivered != 2000 || s.Parked != 0 || s.Breaker.State != Closed {
			t.Errorf("after it: %+v, want all delivered", s)
		}
		checkOrder(t, g.store.lastly())
	})
}

func TestRecordsThatAlwaysFailAreNotAllThatIsProbed(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.one = func(r *wal.Record) error {
			if r.Lane == wal.LaneHigh {
				return errHiccup
			}
			return nil
		}
		for range 20 {
			g.write(0, 0)
		}
		g.start()
		for range 30 {
			pass(time.Minute)
			low := g.write(2, 1) // it must not stand behind those that have just come due again
			pass(5 * time.Second)
			g.want(low, "delivered")
		}
		g.settle(50)
		g.stop()
		if n := len(g.sink.letters); n != 20 {
			t.Errorf("%d are buried, want the 20 that failed while others succeeded", n)
		}
	})
}

func TestFailuresWithSuccessesBetweenAreNoOutage(t *testing.T) {
	bubble(t, Config{Tries: 100}, func(t *testing.T, g *rig) {
		g.store.one = func(r *wal.Record) error {
			if r.Lane == wal.LaneHigh {
				return errHiccup
			}
			return nil
		}
		g.start()
		for range 2 * failingAlike {
			g.write(0, 0)
			synctest.Wait()
			g.write(1, 0)
			synctest.Wait()
			if s := g.f.Stats(); s.Breaker.State != Closed {
				t.Fatalf("the breaker is %+v; want it closed as long as some records are taken", s.Breaker)
			}
		}
		g.stop()
	})
}

func TestAProbeThatFailsIsNotFollowedByAnotherAtOnce(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		down := true
		g.store.whole = func() error {
			if down {
				down = false
				return errDown
			}
			return nil
		}
		g.store.one = func(*wal.Record) error { return errHiccup }
		g.write(1, 1)
		g.start()
		pass(time.Minute)
		if s := g.f.Stats(); s.Breaker.Reason != "transient" || !s.Breaker.Since.Before(time.Now().Add(-59*time.Second)) {
			t.Errorf("breaker %+v, want it not closed for a minute, now for the record that failed", s.Breaker)
		}
		g.stop()
	})
}

func TestAJournalThatCannotBeReadHoldsDeliveryUp(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		up := time.Now().Add(time.Hour)
		g.journal.broken = func() error {
			if time.Now().Before(up) {
				return errNoFiles
			}
			return nil
		}
		for range 100 {
			g.write(1, 1)
		}
		g.start()
		pass(30 * time.Minute)
		s := g.f.Stats()
		if s.LastError.Class != "journal" || s.Breaker.State != Closed || g.journal.count() > 3600 {
			t.Errorf("Stats() = %+v after %d reads, want the journal's error, and pauses", s, g.journal.count())
		}
		g.settle(100)
		reads := g.journal.count()
		g.journal.mu.Lock()
		g.journal.broken = func() error {
			if len(g.journal.reads) == reads+1 {
				return errNoFiles
			}
			return nil
		}
		g.journal.mu.Unlock()
		g.write(1, 1)
		pass(50 * time.Millisecond) // the longest first back-off: the hour is forgotten
		g.want(101, "delivered")
		g.stop()
		checkOrder(t, g.store.stored)
		if lines := bytes.Count(g.log.Bytes(), []byte("held up")); lines > 361 {
			t.Errorf("%d lines in an hour, want one in ten seconds at most", lines)
		}
	})
}

func TestAJournalThatAnswersWronglyIsNotBelieved(t *testing.T) {
	for name, lie := range map[string]func(visit func(*wal.Record) error) error{
		"another record": func(visit func(*wal.Record) error) error { return visit(&wal.Record{Index: 77}) },
		"nothing":        func(func(*wal.Record) error) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, g *rig) {
				g.journal.lie = func(visit func(*wal.Record) error) (bool, error) {
					return len(g.journal.reads) < 4, lie(visit)
				}
				index := g.write(1, 1)
				g.start()
				g.settle(1)
				s := g.f.Stats()
				g.stop()
				g.want(index, "delivered")
				if s.LastError.Class != "journal" || g.store.tries(index) != 1 {
					t.Errorf("Stats() = %+v, want the journal's error", s)
				}
			})
		})
	}
}

func TestBackoffsAreJittered(t *testing.T) {
	const least, most = 50 * time.Millisecond, 5 * time.Second
	for failures, ceiling := range map[int]time.Duration{0: least, 3: 8 * least, 7: most, 1000: most} {
		lowest, highest := most, time.Duration(0)
		for range 1000 {
			d := backoff(failures, least, most)
			lowest, highest = min(lowest, d), max(highest, d)
		}
		if lowest <= 0 || lowest > ceiling/10 || highest > ceiling || highest < ceiling*9/10 {
			t.Errorf("after %d failures back-offs are from %v to %v, want all between nothing and %v", failures, lowest, highest, ceiling)
		}
	}
}

func TestTheBreakerSendsAProbeAfterEachBackoff(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := breaker{least: 50 * time.Millisecond, most: 5 * time.Second}
	if b.wait(now) != 0 || b.current() != Closed {
		t.Fatal("a new breaker is not closed")
	}
	ceiling := 50 * time.Millisecond
	for range 40 {
		b.failed(now, "unavailable")
		left := b.wait(now)
		if left <= 0 || left > ceiling || b.current() != Open {
			t.Fatalf("the back-off is %v, want at most %v; %v", left, ceiling, b.current())
		}
		now = now.Add(left)
		if b.wait(now) != 0 || b.current() != HalfOpen {
			t.Fatalf("after the back-off the breaker is %v, want half-open", b.current())
		}
		ceiling = min(2*ceiling, 5*time.Second)
	}
	if outage, closed := b.succeeded(now); !closed || outage != now.Sub(time.Unix(1_000_000, 0)) {
		t.Errorf("closed %v after %v, want the time since the first failure", closed, outage)
	}
	b.failed(now, "denied")
	if left := b.wait(now); left > 50*time.Millisecond {
		t.Errorf("after a success the back-off is %v, want it to begin anew", left)
	}
}
