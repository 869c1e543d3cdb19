package queue

import (
	"errors"
	"sync"
	"time"
)

// ErrClosed ends a Take: the queue was closed. What it still held is in the journal.
var ErrClosed = errors.New("queue closed")

// Ref refers to one journal record that waits for delivery.
type Ref struct {
	Index uint64
	Lane  int
	At    time.Time // when it was pushed, to the second
}

// Queue is three lanes of references. See the package comment for its order.
type Queue struct {
	cfg Config
	now func() time.Time

	mu       sync.Mutex
	lanes    [Lanes]lane
	credit   [Lanes]int // slots an aged lane has watched go to others
	closed   bool
	sleepers int // Takes that wait for something to come

	wake chan struct{} // capacity 1; a token for one sleeper, who passes it on when more is there
	done chan struct{} // closed by Close
}

// New makes an empty queue. cfg should have passed Validate; now is time.Now where it is nil.
func New(cfg Config, now func() time.Time) *Queue {
	if now == nil {
		now = time.Now
	}
	return &Queue{cfg: cfg.withDefaults(), now: now, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Push adds one reference at the end of its lane. After Close it does nothing.
func (q *Queue) Push(lane int, index uint64, at time.Time) { q.PushRun(lane, index, index, at) }

// PushRun adds the references first to last at the end of their lane. After Close it does nothing.
func (q *Queue) PushRun(lane int, first, last uint64, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || first > last {
		return
	}
	q.lanes[lane].pushBack(first, last, at.Unix())
	q.wakeLocked()
}

// Return gives back what Take gave out: to the front of its lanes, refs[0] foremost.
func (q *Queue) Return(refs []Ref) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := len(refs) - 1; i >= 0; i-- {
		r := &refs[i]
		q.lanes[r.Lane].taken--
		q.lanes[r.Lane].pushFront(r.Index, r.Index, r.At.Unix())
	}
	q.wakeLocked()
}

// ReturnRun gives back the references first to last of one lane, all of them taken: to the front, first foremost.
func (q *Queue) ReturnRun(lane int, first, last uint64, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lanes[lane].taken -= int(last - first + 1) //nolint:gosec // so many were taken
	q.lanes[lane].pushFront(first, last, at.Unix())
	q.wakeLocked()
}

// Done reports that n references taken from a lane are settled; they no longer count in its depth.
func (q *Queue) Done(lane, n int) {
	q.mu.Lock()
	q.lanes[lane].taken -= n
	q.mu.Unlock()
}

// Depths returns how many references each lane holds: those that wait and those taken and not yet done.
func (q *Queue) Depths() [Lanes]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	var depths [Lanes]int
	for i := range q.lanes {
		depths[i] = q.lanes[i].depth()
	}
	return depths
}

// Waiting returns how many references could be taken now, over all lanes.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for i := range q.lanes {
		n += q.lanes[i].waiting
	}
	return n
}

// Oldest returns when the reference that has waited longest was pushed; zero when nothing waits. What is taken does not
// wait: its holder knows it.
func (q *Queue) Oldest() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	var oldest time.Time
	for i := range q.lanes {
		if q.lanes[i].waiting == 0 {
			continue
		}
		if at := time.Unix(q.lanes[i].headSecond(), 0); oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}

// Full says whether a lane has reached its capacity. It never is without one.
func (q *Queue) Full(lane int) bool { return q.Pressure(lane) >= 1 }

// Pressure returns a lane's depth as a share of its capacity: 0 without a capacity, above 1 when it was overfilled.
func (q *Queue) Pressure(lane int) float64 {
	capacity := q.cfg.LaneCapacity[lane]
	if capacity <= 0 {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return float64(q.lanes[lane].depth()) / float64(capacity)
}

// Close ends all Takes with ErrClosed. It may be called more than once.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.done)
	}
}

func (l *lane) depth() int { return l.waiting + l.taken }

// wakeLocked hands a token to a sleeper, if there is one that has none yet.
func (q *Queue) wakeLocked() {
	if q.sleepers == 0 {
		return
	}
	select {
	case q.wake <- struct{}{}:
	default: // a token is on its way
	}
}
