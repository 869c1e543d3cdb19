package session

import (
	"slices"
	"time"
)

// Attachment is one stream's hold on a session. Its owner releases it exactly when all that the stream appended to the
// journal is settled.
type Attachment struct {
	m *Manager
	s *session

	ready  chan struct{}
	fenced chan struct{}

	isReady, isFenced, released bool // guarded by session.mu
}

var alwaysReady = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Ready is closed when all earlier attachments of the session were released.
func (a *Attachment) Ready() <-chan struct{} { return a.ready }

// Fenced is closed when a later attachment has taken the session over.
func (a *Attachment) Fenced() <-chan struct{} { return a.fenced }

// ID returns the session's id.
func (a *Attachment) ID() ID { return a.s.id }

// Space returns the session's memory space.
func (a *Attachment) Space() string { return a.s.space }

// Lane returns the session's priority.
func (a *Attachment) Lane() uint8 { return a.s.lane }

// State returns what the session takes now.
func (a *Attachment) State() State {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return a.s.state
}

// Next returns the sequence number that the next observation must carry.
func (a *Attachment) Next() uint64 {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return a.s.accepted + 1
}

// Check says whether the session would take seq now. The error is ErrFenced, ErrClosed, ErrPaused or a *SequenceError;
// whatever it is, nothing has changed.
func (a *Attachment) Check(seq uint64) error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	switch {
	case a.isFenced || a.released:
		return ErrFenced
	case a.s.state == Closed:
		return ErrClosed
	case a.s.state == Paused:
		return ErrPaused
	case seq != a.s.accepted+1:
		return &SequenceError{Expected: a.s.accepted + 1, Got: seq}
	}
	return nil
}

// Accepted says that seq, which Check let pass, was appended to the journal. An owner that was fenced since may still say
// so: the write is in flight, and settled before the release.
func (a *Attachment) Accepted(seq uint64) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if seq != a.s.accepted+1 || a.released {
		panic("internal error: a sequence was accepted that Check did not let pass")
	}
	a.s.accepted = seq
}

// Durable says that seq and all before it are fsynced. A lower one than before changes nothing.
func (a *Attachment) Durable(seq uint64) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if seq > a.s.accepted {
		panic("internal error: a sequence became durable that was not accepted")
	}
	a.s.durable = max(a.s.durable, seq)
}

// RollBack takes back what was accepted and will not become durable, and returns the sequence that is expected next.
func (a *Attachment) RollBack() uint64 {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.accepted = a.s.durable
	return a.s.accepted + 1
}

// Pause makes the session refuse observations until Resume. The error is ErrFenced or ErrClosed.
func (a *Attachment) Pause() error { return a.become(Paused) }

// Resume makes a paused session take observations again. The error is ErrFenced or ErrClosed.
func (a *Attachment) Resume() error { return a.become(Active) }

func (a *Attachment) become(state State) error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	switch {
	case a.isFenced || a.released:
		return ErrFenced
	case a.s.state == Closed:
		return ErrClosed
	}
	a.s.state = state
	return nil
}

// Close ends the session for good, once its close is durable. It is remembered as closed for one timeout. As with
// Accepted, an owner that was fenced meanwhile may still say so.
func (a *Attachment) Close() {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.state == Closed {
		return
	}
	a.s.state = Closed
	a.s.drop()
	a.m.closed.push(a.s, time.Since(a.m.start))
}

// Abandon releases a session that Open began and that could not be made durable, and forgets it: nobody knows its id.
func (a *Attachment) Abandon() {
	a.m.mu.Lock()
	a.m.forget(a.s)
	a.m.mu.Unlock()
	a.Release()
}

// Release gives the hold up. The next attachment becomes ready when it was the last before it; where there is none, the
// timeout begins. All that was appended to the journal must be settled; what of it did not become durable is rolled back.
// A second call does nothing.
func (a *Attachment) Release() {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.released {
		return
	}
	a.released = true
	place := slices.Index(a.s.attached, a)
	a.s.attached = slices.Delete(a.s.attached, place, place+1)
	if place == 0 { // one that was still waiting has appended nothing, and must not touch what the owner has in flight
		a.s.accepted = a.s.durable
	}
	if len(a.s.attached) > 0 {
		a.s.attached[0].becomeReady()
		return
	}
	a.s.attached = nil
	if a.s.state != Closed && a.m.sessions[a.s.id] == a.s {
		a.m.idle.push(a.s, time.Since(a.m.start))
	}
}

// becomeReady and fence are called with the locks of manager and session held.
func (a *Attachment) becomeReady() {
	if !a.isReady {
		a.isReady = true
		if a.ready != alwaysReady {
			close(a.ready)
		}
	}
}

// fence may come twice: when the one that took over gave up waiting, and the next one takes over.
func (a *Attachment) fence() {
	if !a.isFenced {
		a.isFenced = true
		close(a.fenced)
	}
}
