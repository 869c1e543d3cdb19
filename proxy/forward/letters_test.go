package forward

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// While the ledger takes no letter, those that wait for it do not become more, however many the store refuses.
func TestLettersTooManyHoldDeliveryUp(t *testing.T) {
	bubble(t, Config{BatchItems: 10}, func(t *testing.T, g *rig) {
		full := time.Now().Add(time.Hour)
		g.sink.refuse = func() error {
			if len(g.sink.letters) >= 5 && time.Now().Before(full) {
				return errFull
			}
			return nil
		}
		g.store.one = func(*wal.Record) error { return errBad }
		for range 1000 {
			g.write(1, 0)
		}
		g.start()
		pass(30 * time.Minute)
		s := g.f.Stats()
		if s.Dead != 5 || s.Parked > 20 || s.LastError.Class != "ledger" {
			t.Errorf("Stats() = %+v, want 5 dead and hardly any parked", s)
		}
		g.settle(1000)
		s = g.f.Stats()
		g.stop()
		if s.Dead != 1000 || s.Parked != 0 {
			t.Errorf("Stats() = %+v, want all dead once there is room", s)
		}
	})
}

func TestALedgerThatIsFullLosesNoLetter(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		room := time.Now().Add(time.Hour)
		g.sink.refuse = func() error {
			if time.Now().Before(room) {
				return errFull
			}
			return nil
		}
		g.store.one = failing(2, -1, errBad)
		for range 4 {
			g.write(1, 1)
		}
		g.write(1, 2)
		began := time.Now()
		g.start()
		g.settle(2)
		pass(30 * time.Minute)
		s := g.f.Stats()
		g.want(1, "delivered")
		g.want(5, "delivered")
		if g.sink.count() != 2 || s.Parked != 3 || s.LastError.Class != "ledger" || s.LastError.Text != errFull.Error() || s.Dead != 0 {
			t.Errorf("%d reported, %+v; want the refused one and its session to wait", g.sink.count(), s)
		}
		g.settle(5)
		g.stop()
		g.want(2, "dead")
		if l := g.sink.letters[2]; l.Reason != errBad.Error() || l.Attempts != 1 || !l.DiedAt.Equal(began) || g.store.tries(2) != 1 {
			t.Errorf("letter %+v after %d tries, want the first verdict", l, g.store.tries(2))
		}
		checkOrder(t, g.sink.order)
	})
}

func TestWhatFollowsADeathInItsBatchIsNotBlamed(t *testing.T) {
	bubble(t, Config{Tries: 1}, func(t *testing.T, g *rig) {
		g.store.one = failing(2, -1, errHiccup)
		g.write(1, 2)
		for range 3 {
			g.write(1, 1) // 2 fails once too often; 3 and 4 are answered with ErrBehind
		}
		g.start()
		g.settle(4)
		g.stop()
		g.want(2, "dead")
		g.want(3, "delivered")
		g.want(4, "delivered")
		checkOrder(t, g.store.stored)
	})
}

func TestDeadLettersAreLoggedSparsely(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.one = func(*wal.Record) error { return store.Permanent(fmt.Errorf("no: %s", strings.Repeat("x", 1000))) }
		for range 1000 {
			g.write(1, 1)
		}
		g.start()
		g.settle(1000)
		pass(2 * time.Second)
		g.write(1, 1)
		g.settle(1001)
		g.stop()
		if n := strings.Count(g.log.String(), "\n"); n != 2 || !strings.Contains(g.log.String(), "not_logged=999") || g.log.Len() > 2000 {
			t.Errorf("a thousand deaths at once are %d lines, want one, and the next to count them:\n%s", n, g.log.String())
		}
		if len(g.sink.letters[1].Reason) != 1004 {
			t.Error("the letter does not have the store's words whole")
		}
	})
}
