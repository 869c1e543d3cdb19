package forward

import (
	"math/rand/v2"
	"sync"
	"time"
)

// State is whether records are sent.
type State uint8

// The states of a breaker.
const (
	Closed   State = iota // all is well
	Open                  // something failed: nothing is sent until the back-off is over
	HalfOpen              // one record is sent as a probe
)

// String returns the state as operators see it.
func (s State) String() string {
	switch s {
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	default:
		return "closed"
	}
}

// breaker decides when to try again after a failure that is not one record's. Only the dispatcher changes it.
type breaker struct {
	least, most time.Duration

	mu       sync.Mutex
	state    State
	failures int       // in a row
	since    time.Time // when it left Closed or came back to it; zero before the first time
	retryAt  time.Time
	reason   string
}

// failed opens the breaker for a back-off, and says whether it was closed before.
func (b *breaker) failed(now time.Time, reason string) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	opened = b.state == Closed
	if opened {
		b.since = now
	}
	b.state, b.reason = Open, reason
	b.retryAt = now.Add(backoff(b.failures, b.least, b.most))
	b.failures++
	return opened
}

// succeeded closes the breaker; where it was not closed it says how long.
func (b *breaker) succeeded(now time.Time) (outage time.Duration, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = 0
	if b.state == Closed {
		return 0, false
	}
	outage = now.Sub(b.since)
	b.state, b.since, b.reason = Closed, now, ""
	return outage, true
}

// wait returns how long nothing may be sent. When that time is over the breaker is half-open.
func (b *breaker) wait(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != Open {
		return 0
	}
	if left := b.retryAt.Sub(now); left > 0 {
		return left
	}
	b.state = HalfOpen
	return 0
}

func (b *breaker) current() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// backoff is the pause after the given number of earlier failures in a row: anything up to least doubled for each of
// them, but not above most. Full jitter keeps many sidecars from returning to a store at the same moment.
func backoff(failures int, least, most time.Duration) time.Duration {
	ceiling := most
	if failures < 30 && least<<failures < most {
		ceiling = least << failures
	}
	return 1 + rand.N(ceiling)
}
