package forward

import (
	"sync"
	"time"
)

// Bounds of RetryAfter, and what it says before anything was measured.
const (
	retrySoonest  = 100 * time.Millisecond
	retryLatest   = 60 * time.Second
	retryUnknown  = time.Second
	retryInOutage = time.Second
)

// Stats is how delivery stands. The counters begin at 0 with the process.
type Stats struct {
	Delivered uint64 // records the store has taken
	Dead      uint64 // records it has refused for good
	Damaged   uint64 // records the journal could not read back
	Retried   uint64 // answers other than these: the record was, or will be, sent again

	InFlight int // records with the store now
	Parked   int // records that wait for their own next try, or behind one of their session that does
	Window   int // records that may be in flight

	Rate     float64 // records settled a second, averaged over the last 10 s or so
	Capacity float64 // records settled in a second of work: what the store can do; 0 before the first

	LastError   Failure
	Breaker     Breaker
	Oldest      time.Time // when the oldest undelivered record was accepted; zero where there is none
	LastSuccess time.Time // when the store last took a record; zero before the first
}

// Failure is something that went wrong. Zero is nothing yet.
type Failure struct {
	Text  string // the store's own words, or the journal's or the ledger's
	Class string // a store.Class as text, or "journal" or "ledger"
	At    time.Time
}

// Breaker is whether the store takes records.
type Breaker struct {
	State   State
	Since   time.Time // when it stopped taking them, or began again; zero when it never stopped
	Reason  string    // the class of the failure, while not closed
	RetryAt time.Time // when the next probe is sent, while Open
}

// Stats returns a snapshot. Its parts are read one after the other.
func (f *Forwarder) Stats() Stats {
	now := time.Now()
	s, oldest := f.board.snapshot()
	s.Oldest = earlier(oldest, f.queue.Oldest())
	s.Parked, oldest = f.lot.survey()
	s.Oldest = earlier(s.Oldest, oldest)
	s.Window = f.pace.current()
	s.Rate, s.Capacity = f.meter.perSecond(now)
	s.Breaker = f.breaker.snapshot()
	return s
}

// RetryAfter returns when depth records will have been delivered at the measured rate: a hint for clients, between 100 ms
// and 60 s. While the store takes nothing it is at least the time to the next probe, and a second.
func (f *Forwarder) RetryAfter(depth int) time.Duration {
	now := time.Now()
	hint := retryUnknown
	if _, capacity := f.meter.perSecond(now); capacity > 0 {
		hint = time.Duration(min(float64(depth)/capacity, retryLatest.Seconds()) * float64(time.Second))
	}
	if b := f.breaker.snapshot(); b.State != Closed {
		hint = max(hint, retryInOutage, b.RetryAt.Sub(now))
	}
	return min(max(hint, retrySoonest), retryLatest)
}

func (b *breaker) snapshot() Breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Breaker{State: b.state, Since: b.since, Reason: b.reason}
	if b.state == Open {
		s.RetryAt = b.retryAt
	}
	return s
}

// board holds what the dispatcher counts for Stats.
type board struct {
	mu       sync.Mutex
	stats    Stats
	inFlight time.Time // when the oldest record in flight was pushed
	settled  int       // in this round
}

func (b *board) begin(items []item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats.InFlight, b.inFlight, b.settled = 0, time.Time{}, 0
	for i := range items {
		if items[i].group != nowhere {
			b.stats.InFlight++
		}
		b.inFlight = earlier(b.inFlight, items[i].ref.At)
	}
}

// finish ends a round and returns how many of it are settled.
func (b *board) finish() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats.InFlight, b.inFlight = 0, time.Time{}
	return b.settled
}

func (b *board) settle(o Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled++
	if o == Damaged {
		b.stats.Damaged++
		return
	}
	b.stats.Delivered++
	b.stats.LastSuccess = time.Now()
}

func (b *board) settleDead() {
	b.mu.Lock()
	b.settled++
	b.stats.Dead++
	b.mu.Unlock()
}

func (b *board) retry(n uint64) {
	b.mu.Lock()
	b.stats.Retried += n
	b.mu.Unlock()
}

func (b *board) note(class string, err error) {
	b.mu.Lock()
	b.stats.LastError = Failure{Text: err.Error(), Class: class, At: time.Now()}
	b.mu.Unlock()
}

func (b *board) lastError() Failure {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats.LastError
}

func (b *board) snapshot() (Stats, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats, b.inFlight
}
