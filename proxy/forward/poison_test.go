package forward

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// arrivals is a sink that knows how long each record was on its way. It lives in a synctest bubble: its times are exact.
type arrivals struct {
	mu     sync.Mutex
	took   map[wal.SessionID][]time.Duration
	buried int
}

func (a *arrivals) Settle(r *wal.Record, _ Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.took[r.Session] = append(a.took[r.Session], time.Since(time.Unix(0, r.Time)))
}

func (a *arrivals) Bury(Letter) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.buried++
	return nil
}

// slowest returns the greatest delay and the 99th percentile of the sessions.
func (a *arrivals) slowest(sessions ...int) (n int, p99, most time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []time.Duration
	for _, s := range sessions {
		all = append(all, a.took[session(s)]...)
	}
	if len(all) == 0 {
		return 0, 0, 0
	}
	slices.Sort(all)
	return len(all), all[len(all)*99/100], all[len(all)-1]
}

const (
	poisonRate  = 1000 // records a second
	poisonCount = 20 * poisonRate
	poisonEvery = 1000
)

// poisonRun sends records of ten sessions at their rate to a store that needs 2 ms for a batch and 50 µs for each record, as a
// disk does, and fails every so many-th, which are all of the first session.
func poisonRun(t *testing.T, every uint64, failure error) (got *arrivals) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, Config{})
		got = &arrivals{took: map[wal.SessionID][]time.Duration{}}
		g.reports = got
		g.store.delay = func(n int) time.Duration { return 2*time.Millisecond + time.Duration(n)*50*time.Microsecond }
		g.store.one = func(r *wal.Record) error {
			if r.Index%every == 1 {
				return failure
			}
			return nil
		}
		g.start()
		for n := range poisonCount {
			g.write(1, 1+n%10)
			time.Sleep(time.Second / poisonRate)
		}
		pass(10 * time.Minute)
		g.stop()
	})
	return got
}

// TestOneInAThousandDelaysNobody: what a store refuses for good holds nobody up, not even its own session; what fails again
// and again holds up its own session, whose order it keeps, and no other.
func TestOneInAThousandDelaysNobody(t *testing.T) {
	all, others := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, []int{2, 3, 4, 5, 6, 7, 8, 9, 10}
	const poisoned, limit = poisonCount / poisonEvery, time.Second
	for _, row := range []struct {
		name    string
		every   uint64
		failure error
		look    []int
		count   int
		buried  int
	}{
		{"none", 1 << 40, nil, all, poisonCount, 0},
		{"refused for good, all sessions", poisonEvery, errBad, all, poisonCount - poisoned, poisoned},
		{"fails each time, other sessions", poisonEvery, errHiccup, others, poisonCount / 10 * 9, poisoned},
	} {
		got := poisonRun(t, row.every, row.failure)
		n, p99, most := got.slowest(row.look...)
		t.Logf("%s: p99 %v, max %v", row.name, p99, most)
		if n != row.count || got.buried != row.buried {
			t.Errorf("%s: %d came, %d were buried; expected %d and %d", row.name, n, got.buried, row.count, row.buried)
		}
		if most > limit {
			t.Errorf("%s: one took %v, expected at most %v", row.name, most, limit)
		}
		if store.ClassOf(row.failure) == store.ClassTransient {
			_, p99, most := got.slowest(1)
			t.Logf("%s, the session of those that fail: p99 %v, max %v", row.name, p99, most)
		}
	}
}
