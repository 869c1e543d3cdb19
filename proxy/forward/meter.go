package forward

import (
	"math"
	"sync"
	"time"
)

// meterSpan is over what time rates are averaged, in seconds.
const meterSpan = 10.0

// meter measures how fast records are settled: by the clock, and by the time that there was work.
type meter struct {
	mu    sync.Mutex
	rate  float64 // records a second, as of at
	at    time.Time
	items float64 // settled lately
	busy  float64 // seconds it took
}

// add counts n records that were settled after busy of work.
func (m *meter) add(now time.Time, n int, busy time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rate = m.rateLocked(now) + float64(n)/meterSpan
	m.at = now
	fade := math.Exp(-busy.Seconds() / meterSpan)
	m.items = m.items*fade + float64(n)
	m.busy = m.busy*fade + busy.Seconds()
}

func (m *meter) rateLocked(now time.Time) float64 {
	if m.at.IsZero() {
		return 0
	}
	return m.rate * math.Exp(-now.Sub(m.at).Seconds()/meterSpan)
}

// perSecond returns the records settled in a second of the clock, and in a second of work; 0 before the first.
func (m *meter) perSecond(now time.Time) (rate, capacity float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.items > 0 {
		capacity = m.items / max(m.busy, 1e-6)
	}
	return m.rateLocked(now), capacity
}
