package forward

import (
	"container/heap"
	"sync"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// A trial is a record that will be tried again, and what waits behind it.
type trial struct {
	ref     queue.Ref
	session wal.SessionID

	attempts int // how many times the store said no to it
	counted  int // how many of them while others succeeded
	seen     int // the successes of others when it failed last

	asked int    // the attempts when one behind it was last asked for
	ahead uint64 // how many behind it were

	verdict string    // why it is dead, while the sink could not take it yet
	diedAt  time.Time // where verdict is set

	pauses int // back-offs so far
	due    time.Time
	behind []span
}

// A span is a run of references that wait behind a trial, in the order of their session.
type span struct {
	first uint64
	count uint32
	lane  uint8
	at    int64 // Unix seconds
}

// lot is the parking lot of the dispatcher: the trials, at most one for each session. Records without a session have one
// each, and nothing behind them.
type lot struct {
	mu        sync.Mutex
	byIndex   map[uint64]*trial
	bySession map[wal.SessionID]*trial
	waiting   dueHeap
	behind    int
}

func newLot() *lot {
	return &lot{byIndex: make(map[uint64]*trial), bySession: make(map[wal.SessionID]*trial)}
}

// find returns the trial of a record, or nil. Only the dispatcher changes trials.
func (l *lot) find(index uint64) *trial {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byIndex[index]
}

// block puts a reference behind the trial of its session, where there is one and it is another record's.
func (l *lot) block(ref queue.Ref, session wal.SessionID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.bySession[session]
	if t == nil || t.ref.Index == ref.Index {
		return false
	}
	l.behind++
	at, lane := ref.At.Unix(), uint8(ref.Lane) //nolint:gosec // a lane is 0 to 2
	if n := len(t.behind); n > 0 {
		last := &t.behind[n-1]
		if last.first+uint64(last.count) == ref.Index && last.at == at && last.lane == lane && last.count < 1<<31 {
			last.count++
			return true
		}
	}
	t.behind = append(t.behind, span{first: ref.Index, count: 1, lane: lane, at: at})
	return true
}

// park makes a trial wait until due. It must not be waiting already.
func (l *lot) park(t *trial, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.due = due
	t.pauses++
	heap.Push(&l.waiting, t)
}

// begin makes a trial for a record. Its session must have none.
func (l *lot) begin(ref queue.Ref, session wal.SessionID) *trial {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &trial{ref: ref, session: session}
	l.byIndex[ref.Index] = t
	if !session.IsZero() {
		l.bySession[session] = t
	}
	return t
}

// end forgets the trial of a record and returns what waited behind it.
func (l *lot) end(index uint64) []span {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.byIndex[index]
	if t == nil {
		return nil
	}
	delete(l.byIndex, index)
	delete(l.bySession, t.session)
	for _, s := range t.behind {
		l.behind -= int(s.count)
	}
	return t.behind
}

// takeDue returns the references of the trials that are due by now, at most so many; they wait no longer.
func (l *lot) takeDue(now time.Time, limit int) []queue.Ref {
	l.mu.Lock()
	defer l.mu.Unlock()
	var refs []queue.Ref
	for len(refs) < limit && len(l.waiting) > 0 && !l.waiting[0].due.After(now) {
		t := l.waiting[0]
		heap.Pop(&l.waiting)
		refs = append(refs, t.ref)
	}
	return refs
}

// nextDue returns when the next trial is due, and whether there is one.
func (l *lot) nextDue() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return time.Time{}, false
	}
	return l.waiting[0].due, true
}

// survey counts what is parked, and finds when the oldest of it was pushed; zero where nothing is.
func (l *lot) survey() (parked int, oldest time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.byIndex {
		oldest = earlier(oldest, t.ref.At)
	}
	return len(l.byIndex) + l.behind, oldest
}

// earlier returns the earlier of two times, where a zero one does not count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// dueHeap orders trials by when they are due.
type dueHeap []*trial

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds a trial; it implements heap.Interface.
func (h *dueHeap) Push(x any) {
	if t, ok := x.(*trial); ok {
		*h = append(*h, t)
	}
}

// Pop removes the last trial; it implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	last := len(old) - 1
	t := old[last]
	old[last] = nil
	*h = old[:last]
	return t
}
