package forward

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// pretend is a store: a Put of n records takes latency + n·work, give or take the noise.
type pretend struct {
	latency, work time.Duration
	noise         float64
}

func (s pretend) put(n int, rng *rand.Rand) time.Duration {
	took := s.latency + time.Duration(n)*s.work
	return time.Duration(float64(took) * (1 + s.noise*(2*rng.Float64()-1)))
}

// settled runs a pace against a store with an endless backlog and returns the mean window of the last Puts.
func settled(s pretend, most int) float64 {
	p := newPace(50*time.Millisecond, most)
	rng := rand.New(rand.NewPCG(1, 2))
	sum := 0
	const warm, measured = 300, 300
	for i := range warm + measured {
		n := p.next()
		p.observe(n, s.put(n, rng))
		if i >= warm {
			sum += p.current()
		}
	}
	return float64(sum) / measured
}

func TestPaceFindsTheWindow(t *testing.T) {
	for _, row := range []struct {
		name  string
		store pretend
		most  int
		want  float64 // the window
		off   float64 // how far from it is right, as a factor
	}{
		{"1,600 a second", pretend{work: 625 * time.Microsecond}, 1000, 80, 1.1},
		{"100 a second", pretend{work: 10 * time.Millisecond}, 1000, 5, 1.3},
		{"10 a second: never less than one", pretend{work: 100 * time.Millisecond}, 1000, 1, 1},
		{"50,000 a second: never more than the most", pretend{work: 20 * time.Microsecond}, 1000, 1000, 1},
		{"an fsync of 5 ms", pretend{latency: 5 * time.Millisecond, work: 200 * time.Microsecond}, 1000, 225, 1.3},
		{"far away: half of the speed", pretend{latency: 100 * time.Millisecond, work: time.Millisecond}, 1000, 100, 1.5},
		{"far away and fast", pretend{latency: 100 * time.Millisecond}, 1000, 1000, 1},
		{"far away and slow", pretend{latency: 100 * time.Millisecond, work: 50 * time.Millisecond}, 1000, 2, 2},
		{"noisy", pretend{latency: 5 * time.Millisecond, work: 200 * time.Microsecond, noise: 0.3}, 1000, 225, 1.6},
		{"far away and noisy", pretend{latency: 100 * time.Millisecond, work: time.Millisecond, noise: 0.3}, 1000, 100, 2},
		{"one at a time by configuration", pretend{work: time.Microsecond}, 1, 1, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := settled(row.store, row.most)
			if got > row.want*row.off || got < row.want/row.off {
				t.Errorf("the window settles at %.1f, want %v, or off by a factor of %v", got, row.want, row.off)
			}
		})
	}
}

func TestPaceTakesTheFirstPutForTheRate(t *testing.T) {
	p := newPace(50*time.Millisecond, 1000)
	if p.current() != startWindow {
		t.Errorf("the first window is %d, want %d", p.current(), startWindow)
	}
	p.observe(64, 640*time.Millisecond)
	if got := p.current(); got < 4 || got > 5 {
		t.Errorf("after 64 records in 640 ms the window is %d, want 5", got)
	}
}

func TestPaceIsNotThrownByOneSlowPut(t *testing.T) {
	p := newPace(50*time.Millisecond, 1000)
	s := pretend{latency: time.Millisecond, work: 500 * time.Microsecond}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		n := p.next()
		p.observe(n, s.put(n, rng))
	}
	before := p.current()
	p.observe(p.next(), 20*time.Second)
	if after := p.current(); after < before/3 {
		t.Errorf("one Put of 20 s made the window %d of %d", after, before)
	}
	for range 100 {
		n := p.next()
		p.observe(n, s.put(n, rng))
	}
	if after := p.current(); math.Abs(float64(after-before)) > 0.2*float64(before) {
		t.Errorf("a hundred Puts later the window is %d, want about %d again", after, before)
	}
}

func TestPaceFollowsAStoreThatSlowsDown(t *testing.T) {
	p := newPace(50*time.Millisecond, 1000)
	rng := rand.New(rand.NewPCG(1, 2))
	for i, s := range []pretend{{work: 50 * time.Microsecond}, {work: 5 * time.Millisecond}, {work: 50 * time.Microsecond}} {
		for range 15 {
			n := p.next()
			p.observe(n, s.put(n, rng))
		}
		want := int(50 * time.Millisecond / s.work)
		if got := p.current(); got < want*2/3 || got > want*3/2 {
			t.Errorf("phase %d: the window is %d, want about %d", i, got, want)
		}
	}
}

func TestMeterTellsRateFromCapacity(t *testing.T) {
	var m meter
	now := time.Unix(1_000_000, 0)
	if rate, capacity := m.perSecond(now); rate != 0 || capacity != 0 {
		t.Errorf("before the first: %v and %v, want 0", rate, capacity)
	}
	for range 600 { // ten records each 100 ms, in 10 ms of work
		now = now.Add(100 * time.Millisecond)
		m.add(now, 10, 10*time.Millisecond)
	}
	rate, capacity := m.perSecond(now)
	if math.Abs(rate-100) > 2 || math.Abs(capacity-1000) > 1 {
		t.Errorf("rate %.1f and capacity %.1f, want 100 and 1000", rate, capacity)
	}
	rate, capacity = m.perSecond(now.Add(time.Minute))
	if rate > 1 || math.Abs(capacity-1000) > 1 {
		t.Errorf("after a minute without work: rate %.1f and capacity %.1f, want about 0 and still 1000", rate, capacity)
	}
}

func TestRetryAfterComesFromTheRate(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, g *rig) {
		g.store.delay = func(n int) time.Duration { return time.Duration(n) * 10 * time.Millisecond } // 100 a second
		down := false
		g.store.whole = func() error {
			if down {
				return errDown
			}
			return nil
		}
		g.start()
		if got := g.f.RetryAfter(1000); got != time.Second {
			t.Errorf("before anything was measured the hint is %v, want 1s", got)
		}
		for range 500 {
			g.write(1, 1)
		}
		g.settle(500)
		for depth, want := range map[int]time.Duration{0: 100 * time.Millisecond, 1: 100 * time.Millisecond, 150: 1500 * time.Millisecond, 1_000_000: time.Minute} {
			if got := g.f.RetryAfter(depth); got < want*9/10 || got > want*11/10 {
				t.Errorf("RetryAfter(%d) = %v at 100 a second, want about %v", depth, got, want)
			}
		}
		g.store.mu.Lock()
		down = true
		g.store.mu.Unlock()
		g.write(1, 1)
		pass(time.Hour)
		if got := g.f.RetryAfter(1); got < time.Second || got > 5*time.Second {
			t.Errorf("in an outage the hint is %v, want a second or the time to the next probe", got)
		}
		if s := g.f.Stats(); s.Rate > 1 || s.Capacity < 90 || s.Capacity > 110 {
			t.Errorf("after an hour of outage: rate %v, capacity %v, want none and 100", s.Rate, s.Capacity)
		}
		g.stop()
	})
}

func TestConfigValidate(t *testing.T) {
	for _, row := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "<nil>"},
		{DefaultConfig(), "<nil>"},
		{Config{BatchItems: -1}, "forward-batch-items -1: expected 1 or more, such as 256"},
		{Config{BatchBytes: -1}, "forward-batch-bytes -1: expected 1 or more, such as 4194304"},
		{Config{Parallel: -2}, "forward-parallel -2: expected 1 or more, such as 1"},
		{Config{Tries: -1}, "forward-tries -1: expected 1 or more, such as 10"},
		{Config{Flight: -1}, "forward-flight -1ns: expected a positive duration, such as 50ms"},
		{Config{PutTimeout: -time.Second}, "forward-put-timeout -1s: expected a positive duration, such as 30s"},
		{Config{BackoffMin: -1}, "forward-backoff-min -1ns: expected a positive duration, such as 50ms"},
		{Config{BackoffMax: -1}, "forward-backoff-max -1ns: expected a positive duration, such as 5s"},
		{Config{Grace: -1}, "forward-grace -1ns: expected a positive duration, such as 10s"},
		{Config{BackoffMin: time.Minute}, "forward-backoff-min 1m0s: expected at most forward-backoff-max, which is 5s"},
	} {
		if got := fmt.Sprint(row.cfg.Validate()); got != row.want {
			t.Errorf("Validate() = %s, want %s", got, row.want)
		}
	}
}

func TestNamesOperatorsSee(t *testing.T) {
	for got, want := range map[string]string{
		Delivered.String(): "delivered", Damaged.String(): "damaged", Outcome(9).String(): "outcome 9",
		Closed.String(): "closed", Open.String(): "open", HalfOpen.String(): "half-open",
	} {
		if got != want {
			t.Errorf("a name is %q, want %q", got, want)
		}
	}
}
