package session

import (
	"sync"
	"time"
)

// ID is the UUID of a session.
type ID = [16]byte

// State says what a session takes.
type State uint8

// The states.
const (
	Active State = iota
	Paused
	Closed
)

// String returns the state's name.
func (s State) String() string { return [...]string{"active", "paused", "closed"}[s] }

// Snapshot is what of a session outlives a process.
type Snapshot struct {
	ID       ID
	Space    string
	Lane     uint8
	Last     uint64 // the highest durable sequence, 0 for none
	Closed   bool
	ClosedAt time.Time // wall clock; only with Closed
}

// Info is what can be seen of a live session.
type Info struct {
	ID        ID
	Space     string
	Lane      uint8
	State     State
	Connected bool   // a stream holds it
	Waiting   int    // streams that wait until an earlier one has released it
	Accepted  uint64 // appended to the journal
	Durable   uint64 // fsynced
}

// session is one entry of the manager's table. There may be tens of thousands of them, nearly all idle, so it is small:
// no goroutine, no channel, no buffer while no stream is attached.
type session struct {
	id    ID
	space string
	lane  uint8

	mu       sync.Mutex // guards the fields up to the next blank line; taken after Manager.mu where both are needed
	state    State
	accepted uint64
	durable  uint64
	attached []*Attachment // not yet released, in the order of arrival: the last one holds the session

	// Guarded by Manager.mu: the place in one of the manager's lists, and when it came there.
	prev, next *session
	in         *list
	since      time.Duration
}

func (s *session) info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Info{
		ID: s.id, Space: s.space, Lane: s.lane, State: s.state, Connected: len(s.attached) > 0,
		Waiting: max(len(s.attached)-1, 0), Accepted: s.accepted, Durable: s.durable,
	}
}

// list is a doubly linked list of sessions, in the order of since. It is guarded by Manager.mu.
type list struct {
	first, last *session
	n           int
}

// push puts s, which is in no list, behind the others.
func (l *list) push(s *session, since time.Duration) {
	s.in, s.since, s.prev, s.next = l, since, l.last, nil
	if l.last != nil {
		l.last.next = s
	} else {
		l.first = s
	}
	l.last = s
	l.n++
}

// drop takes s out of the list that it is in, if any.
func (s *session) drop() {
	l := s.in
	if l == nil {
		return
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		l.last = s.prev
	}
	s.in, s.prev, s.next = nil, nil, nil
	l.n--
}
