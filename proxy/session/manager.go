package session

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Manager knows all sessions of a data directory.
type Manager struct {
	cfg   Config
	start time.Time // all times are counted from here, on the monotonic clock

	mu       sync.Mutex
	sessions map[ID]*session
	idle     list // open, without a stream, since the last one left
	closed   list // closed, with or without a stream, since the close
}

// New makes a manager without sessions. The config must be valid.
func New(cfg Config) *Manager {
	return &Manager{cfg: cfg.withDefaults(), start: time.Now(), sessions: make(map[ID]*session)}
}

// Restore adds sessions of an earlier process. Each can be resumed for the full timeout from now; a closed one is
// remembered for what is left of it. More than the limit are taken: they were promised.
func (m *Manager) Restore(snapshots []Snapshot) {
	now := time.Now()
	at := now.Sub(m.start)
	closed := make([]Snapshot, 0, len(snapshots))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, snap := range snapshots {
		if snap.Closed {
			closed = append(closed, snap)
			continue
		}
		m.idle.push(m.add(snap), at)
	}
	slices.SortFunc(closed, func(a, b Snapshot) int { return a.ClosedAt.Compare(b.ClosedAt) })
	for _, snap := range closed {
		ago := min(max(now.Sub(snap.ClosedAt), 0), m.cfg.Timeout) // the wall clock may have been set meanwhile
		s := m.add(snap)
		s.state = Closed
		m.closed.push(s, at-ago)
	}
}

// add enters a session that is in no list. The manager's lock is held.
func (m *Manager) add(snap Snapshot) *session {
	s := &session{id: snap.ID, space: snap.Space, lane: snap.Lane, accepted: snap.Last, durable: snap.Last}
	m.sessions[snap.ID] = s
	return s
}

// Open begins a session with an attachment that is ready. Where the caller cannot make it durable it calls Abandon. The
// error wraps ErrTooMany.
func (m *Manager) Open(id ID, space string, lane uint8) (*Attachment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if open := len(m.sessions) - m.closed.n; open >= m.cfg.Limit {
		return nil, fmt.Errorf("%w: %d are open and max-sessions is %d; close one, wait until one has been idle for %v, or raise the limit",
			ErrTooMany, open, m.cfg.Limit, m.cfg.Timeout)
	}
	if _, ok := m.sessions[id]; ok {
		return nil, fmt.Errorf("session id %x is taken: expected one that was never used", id)
	}
	s := m.add(Snapshot{ID: id, Space: space, Lane: lane})
	return m.attach(s), nil
}

// Attach takes hold of a session, and fences the attachment that held it. Wait for Ready before anything else: until then
// the earlier owner's writes are being settled, and its close may become durable. The error is ErrNotFound or ErrClosed.
func (m *Manager) Attach(id ID) (*Attachment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[id]
	if !ok {
		return nil, ErrNotFound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == Closed {
		return nil, ErrClosed
	}
	s.drop()
	return m.attach(s), nil
}

// attach makes the newest attachment of s. The manager's lock is held, and that of s where s is shared already.
func (m *Manager) attach(s *session) *Attachment {
	a := &Attachment{m: m, s: s, fenced: make(chan struct{}), ready: alwaysReady}
	if n := len(s.attached); n > 0 {
		a.ready = make(chan struct{})
		s.attached[n-1].fence()
	}
	s.attached = append(s.attached, a)
	return a
}

// Expire forgets the sessions that had no stream for the timeout at now, and those that were closed a timeout ago, and
// returns them, longest gone first. A connected session never expires, open or closed. More closed ones than the limit of
// open ones are not kept, so that opening and closing in a loop cannot fill the memory.
func (m *Manager) Expire(now time.Time) []ID {
	at := now.Sub(m.start)
	m.mu.Lock()
	defer m.mu.Unlock()
	var gone []ID
	for s := m.idle.first; s != nil && at-s.since >= m.cfg.Timeout; s = m.idle.first {
		gone = append(gone, m.forget(s))
	}
	for i := m.closed.n; i > 0; i-- { // each at most once: those that are kept go to the end
		s := m.closed.first
		if at-s.since < m.cfg.Timeout && m.closed.n <= m.cfg.Limit {
			break
		}
		if s.info().Connected { // it is being drained: it stays known until its stream has ended, and a timeout more
			s.drop()
			m.closed.push(s, at)
			continue
		}
		gone = append(gone, m.forget(s))
	}
	return gone
}

// forget removes s from the table and its list. The manager's lock is held.
func (m *Manager) forget(s *session) ID {
	s.drop()
	delete(m.sessions, s.id)
	return s.id
}

// SetConfig changes the timeout and the limit, which must be valid. More sessions than the limit stay.
func (m *Manager) SetConfig(cfg Config) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cfg = cfg.withDefaults()
}

// Count returns how many sessions are open, connected or resumable.
func (m *Manager) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions) - m.closed.n
}

// Durable returns the highest durable sequence of a session that is known, open or closed.
func (m *Manager) Durable(id ID) (last uint64, ok bool) {
	m.mu.Lock()
	s, ok := m.sessions[id]
	m.mu.Unlock()
	if !ok {
		return 0, false
	}
	return s.info().Durable, true
}

// Space returns the memory space of a session that is known, open or closed.
func (m *Manager) Space(id ID) (space string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[id]
	if !ok {
		return "", false
	}
	return s.space, true
}

// List describes every known session, in no order.
func (m *Manager) List() []Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Info, 0, len(m.sessions))
	for _, s := range m.sessions {
		out = append(out, s.info())
	}
	return out
}
