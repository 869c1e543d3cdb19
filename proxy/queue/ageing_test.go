package queue

import (
	"testing"
	"testing/synctest"
	"time"
)

// busy keeps a lane filled and takes n references in batches, returning how many came from each lane.
func busy(t *testing.T, q *Queue, lanes []int, next *uint64, n, batch int) [Lanes]int {
	t.Helper()
	var got [Lanes]int
	for taken := 0; taken < n; taken += batch {
		for _, lane := range lanes {
			*next++
			q.PushRun(lane, *next, *next+uint64(batch)-1, time.Now())
			*next += uint64(batch)
		}
		refs, err := q.Take(t.Context(), batch, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range refs {
			got[r.Lane]++
			q.Done(r.Lane, 1)
		}
	}
	return got
}

func TestLowerLanesWaitUntilTheyAreAged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{}, nil)
		var next uint64
		q.PushRun(2, 1_000_000, 1_000_999, time.Now())
		time.Sleep(30 * time.Second)
		if got := busy(t, q, []int{0}, &next, 1000, 10); got != [Lanes]int{1000, 0, 0} {
			t.Errorf("at the limit, lanes gave %v, want all from high", got)
		}
		time.Sleep(time.Second)
		if got := busy(t, q, []int{0}, &next, 1000, 10); got != [Lanes]int{950, 0, 50} {
			t.Errorf("above the limit, lanes gave %v, want one slot in 20 from low", got)
		}
	})
}

func TestAgedLanesEachGetTheirShare(t *testing.T) {
	for _, batch := range []int{1, 7, 64} { // the share does not depend on how many are taken at once
		synctest.Test(t, func(t *testing.T) {
			q := New(Config{}, nil)
			var next uint64
			q.PushRun(1, 1_000_000, 1_009_999, time.Now())
			q.PushRun(2, 2_000_000, 2_009_999, time.Now())
			time.Sleep(time.Minute)
			n := 20 * 64 * 7
			got := busy(t, q, []int{0}, &next, n, batch)
			for lane := 1; lane < Lanes; lane++ {
				if got[lane] < n/20-1 || got[lane] > n/20+1 {
					t.Errorf("batches of %d: lane %d got %d of %d slots, want one in 20", batch, lane, got[lane], n)
				}
			}
		})
	}
}

func TestLowIsServedBesideNormalToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{AgeingLimit: time.Minute, AgeingShare: 5}, nil)
		var next uint64
		q.PushRun(2, 1_000_000, 1_000_999, time.Now())
		time.Sleep(61 * time.Second)
		if got := busy(t, q, []int{1}, &next, 1000, 10); got != [Lanes]int{0, 800, 200} {
			t.Errorf("lanes gave %v, want one slot in 5 from low", got)
		}
	})
}

func TestALaneThatWasServedHasNoCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{}, nil)
		var next uint64
		q.PushRun(2, 1_000_000, 1_000_999, time.Now())
		time.Sleep(31 * time.Second)
		for range 10 { // 18 slots pass it by, then high is empty and it is served as of right
			if got := busy(t, q, []int{0}, &next, 18, 18); got[2] != 0 {
				t.Fatalf("low got %d slots before its turn", got[2])
			}
			if refs, err := q.Take(t.Context(), 1, nil); err != nil || refs[0].Lane != 2 {
				t.Fatalf("Take() = %v, %v, want one from low", refs, err)
			}
		}
	})
}
