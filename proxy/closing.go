package proxy

import (
	"errors"
	"fmt"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// close ends the session by its client's wish. What is in flight is settled first: only then is the last sequence known.
func (o *observation) close(c *envelope.Close) {
	if !o.settled(o.halt) {
		return
	}
	if o.isClosed() {
		o.refuseSession(session.ErrClosed)
		return
	}
	last := o.att.Next() - 1
	if c.LastSequence > last {
		o.refuse(ReasonSequence, fmt.Sprintf(
			"close: last_sequence is %d, but the last accepted is %d: send %d to %d, then close again; the session stays open",
			c.LastSequence, last, last+1, c.LastSequence))
		return
	}
	switch err := o.journalClose(last); {
	case err == nil:
	case errors.Is(err, wal.ErrFull):
		o.refuseFull(err)
		return
	case errors.Is(err, session.ErrFenced):
		return
	default:
		o.end(o.s.statusOfWrite(err, o.lane), true)
		return
	}
	if c.DrainQueue {
		o.draining = true
		close(o.drain)
		return
	}
	o.sayClosed(o.in.obs.Sequence, fmt.Sprintf("closed at sequence %d: what was accepted is still delivered", last))
}

// isClosed says that the session was closed on this stream.
func (o *observation) isClosed() bool { return o.att.State() == session.Closed }

// journalClose makes the close durable. The error is the journal's, or ErrFenced where the session is no longer this stream's.
func (o *observation) journalClose(last uint64) error {
	o.writing.Lock() // so that the session is not given up before its close is known to be durable or not
	defer o.writing.Unlock()
	select {
	case <-o.att.Fenced():
		return session.ErrFenced
	default:
	}
	if o.stopped {
		return errEnded
	}
	r := wal.Record{Kind: wal.KindSessionClosed, Session: o.id, Space: o.space, Lane: o.lane, Sequence: last}
	if _, err := o.s.deps.Journal.Write(o.detached(), &r); err != nil {
		return err
	}
	o.att.Close()
	o.s.log.Debug("session closed", "session", o.idText, "after", last)
	return nil
}

// sayClosed sends the last answer, and ends the stream.
func (o *observation) sayClosed(sequence uint64, message string) {
	o.reply(answerReady, envelope.AppendStatus(nil, o.header(sequence), o.status(envelope.StateClosed, message)))
	o.end(nil, true)
}

// How often a drain looks at what is left at most, and how often it tells the client.
const (
	drainLook   = 10 * time.Millisecond
	drainReport = time.Second
)

// drainWatch waits until all that a closed session has accepted is settled. It is the supervisor's.
type drainWatch struct {
	changed <-chan struct{}  // something was settled
	pause   <-chan time.Time // time to look again
	report  <-chan time.Time // time to tell the client
}

func (w *drainWatch) begin(o *observation) {
	w.report = time.After(drainReport)
	w.look(o)
}

// wait lets some more be settled before the next look: a store takes thousands a second.
func (w *drainWatch) wait() { w.changed, w.pause = nil, time.After(drainLook) }

func (w *drainWatch) look(o *observation) {
	w.pause, w.changed = nil, o.s.deps.Settlement.Changed()
	pending, dead := o.s.deps.Settlement.Remaining(o.id)
	if pending > 0 {
		return
	}
	last := o.att.Next() - 1
	if o.fates != nil && !o.fates.finish(last) {
		w.wait()
		return
	}
	*w = drainWatch{}
	o.sayClosed(0, fmt.Sprintf("closed at sequence %d: all accepted observations are settled, %d of them as dead letters", last, dead))
}

func (w *drainWatch) tell(o *observation) {
	w.report = time.After(drainReport)
	pending, dead := o.s.deps.Settlement.Remaining(o.id)
	o.volunteer(o.status(envelope.StateActive,
		fmt.Sprintf("closing: %d accepted observations are left to deliver, %d are dead letters", pending, dead)))
}
