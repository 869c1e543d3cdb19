package queue

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTakeWaitsForAPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{}, nil)
		var got []Ref
		var wg sync.WaitGroup
		wg.Go(func() { got, _ = q.Take(t.Context(), 10, nil) })
		synctest.Wait()
		q.Push(1, 7, time.Now())
		wg.Wait()
		if len(got) != 1 || got[0] != (Ref{Index: 7, Lane: 1, At: time.Unix(time.Now().Unix(), 0)}) {
			t.Errorf("Take() = %v, want index 7 of lane 1", got)
		}
	})
}

func TestEverySleeperIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{}, nil)
		const takers = 20
		impatient, giveUp := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[uint64]bool{} // guarded by mu
		for i := range 2 * takers {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = impatient
			}
			wg.Go(func() {
				refs, err := q.Take(ctx, 1, nil)
				mu.Lock()
				defer mu.Unlock()
				for _, r := range refs {
					seen[r.Index] = true
				}
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("Take: %v", err)
				}
			})
		}
		synctest.Wait()
		q.PushRun(0, 1, takers/2, time.Now()) // one token, handed on from taker to taker
		giveUp()                              // the taker that has the token may be one that leaves
		synctest.Wait()
		if got := q.Waiting(); got != 0 {
			t.Errorf("%d wait while others sleep, want none", got)
		}
		q.PushRun(0, takers/2+1, 2*takers, time.Now())
		wg.Wait() // a lost wake-up would leave a taker asleep for ever
		if len(seen) < takers || q.sleepers != 0 {
			t.Errorf("%d references reached a taker and %d sleep, want %d at least and none", len(seen), q.sleepers, takers)
		}
	})
}

func TestTakeEnds(t *testing.T) {
	t.Run("with its context, whatever waits", func(t *testing.T) {
		q := New(Config{}, fixed)
		q.Push(0, 1, epoch)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if refs, err := q.Take(ctx, 1, nil); !errors.Is(err, context.Canceled) || len(refs) != 0 {
			t.Errorf("Take() = %v, %v, want context.Canceled and nothing taken", refs, err)
		}
		if got := q.Waiting(); got != 1 {
			t.Errorf("%d wait, want 1", got)
		}
	})
	t.Run("asleep, with its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := New(Config{}, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := q.Take(ctx, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Take: %v, want context.DeadlineExceeded", err)
			}
			if q.sleepers != 0 {
				t.Errorf("%d sleepers are counted, want 0", q.sleepers)
			}
		})
	})
	t.Run("when the queue is closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := New(Config{}, nil)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if _, err := q.Take(t.Context(), 1, nil); !errors.Is(err, ErrClosed) {
						t.Errorf("Take: %v, want ErrClosed", err)
					}
				})
			}
			synctest.Wait()
			q.Close()
			q.Close()
			wg.Wait()
			q.Push(0, 1, time.Now())
			if _, err := q.Take(t.Context(), 1, nil); !errors.Is(err, ErrClosed) || q.Depths() != [Lanes]int{} {
				t.Errorf("after Close, Take: %v, depths %v", err, q.Depths())
			}
		})
	})
}

func TestATakerThatLeavesHandsItsTokenOn(t *testing.T) {
	q := New(Config{}, fixed)
	q.Push(0, 1, epoch)
	q.sleepers = 2 // one of them took the token that the push would have left, and finds its context ended
	if err := q.leave(true, context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("leave: %v, want context.Canceled", err)
	}
	if len(q.wake) != 1 || q.sleepers != 1 {
		t.Errorf("%d tokens for %d sleepers, want one for the other", len(q.wake), q.sleepers)
	}
}

func TestTakeKeepsWhatDstHolds(t *testing.T) {
	q := New(Config{}, fixed)
	q.PushRun(0, 2, 3, epoch)
	refs, err := q.Take(t.Context(), 0, []Ref{{Index: 1}}) // a limit below 1 counts as 1
	if err != nil || len(refs) != 2 || refs[0].Index != 1 || refs[1].Index != 2 {
		t.Errorf("Take() = %v, %v, want indexes 1 and 2", refs, err)
	}
}

func TestCapacityCountsWhatIsTaken(t *testing.T) {
	q := New(Config{LaneCapacity: [Lanes]int{0, 4, 0}}, fixed)
	q.PushRun(0, 100, 200, epoch)
	q.PushRun(1, 1, 3, epoch)
	if q.Full(0) || q.Pressure(0) != 0 {
		t.Error("a lane without a capacity says it is full")
	}
	if q.Full(1) || q.Pressure(1) != 0.75 {
		t.Errorf("3 of 4: full %v, pressure %v", q.Full(1), q.Pressure(1))
	}
	q.Push(1, 4, epoch)
	refs, err := q.Take(t.Context(), 105, nil)
	if err != nil || len(refs) != 105 || !q.Full(1) {
		t.Fatalf("took %d (%v); full %v: what is taken is not settled yet", len(refs), err, q.Full(1))
	}
	q.Done(1, 1)
	if q.Full(1) || q.Depths() != [Lanes]int{101, 3, 0} {
		t.Errorf("after one was settled: full %v, depths %v", q.Full(1), q.Depths())
	}
}

func TestConfigValidate(t *testing.T) {
	for _, row := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"zero is the defaults", Config{}, ""},
		{"capacity", Config{LaneCapacity: [Lanes]int{1, -2, 3}}, "lane-capacity: number 2 is -2: expected a count of records, or 0 for no limit"},
		{"limit", Config{AgeingLimit: -time.Second}, "ageing-limit -1s: expected a positive duration such as 30s"},
		{"share", Config{AgeingShare: 1}, "ageing-share 1: expected 2 or more (one slot in so many), such as 20"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := ""
			if err := row.cfg.Validate(); err != nil {
				got = err.Error()
			}
			if got != row.want {
				t.Errorf("Validate() = %q, want %q", got, row.want)
			}
		})
	}
}

// TestAReferenceOnItsWayAllocatesNothing bounds what a reference costs the collector while its lane does not grow.
func TestAReferenceOnItsWayAllocatesNothing(t *testing.T) {
	q := New(Config{}, nil)
	refs, at, next := make([]Ref, 0, 64), time.Now(), uint64(0)
	round := func() {
		for range 64 {
			next++
			q.Push(int(next%Lanes), next, at)
		}
		refs, _ = q.Take(t.Context(), 64, refs[:0])
		for _, r := range refs {
			q.Done(r.Lane, 1)
		}
	}
	for range 20 {
		round()
	}
	if n := testing.AllocsPerRun(200, round); n > 4 {
		t.Errorf("64 references allocate %.1f times", n)
	}
}

func BenchmarkPushTake(b *testing.B) {
	q := New(Config{}, nil)
	ctx := b.Context()
	refs := make([]Ref, 0, 64)
	at := time.Now()
	b.ReportAllocs()
	for i := uint64(1); b.Loop(); i++ {
		q.Push(int(i%Lanes), i, at)
		if i%64 == 0 {
			refs, _ = q.Take(ctx, 64, refs[:0])
			for _, r := range refs {
				q.Done(r.Lane, 1)
			}
		}
	}
}
