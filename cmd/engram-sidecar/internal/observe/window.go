package observe

import "time"

// window holds the observations that were taken from the input and are not acked, in order. The one at place i has the
// sequence number acked+1+i: to leave one out renumbers those behind it by itself.
type window struct {
	acked   uint64    // the highest sequence the sidecar has acknowledged
	pending []pending // from acked+1 on
	sent    int       // how many of pending were handed to the present connection
}

// pending is one observation on its way.
type pending struct {
	Observation
	first time.Time // when it was first handed to a connection; zero when it never was
}

func (w *window) add(o Observation) { w.pending = append(w.pending, pending{Observation: o}) }

// next returns the first observation that the present connection has not got, and its sequence; nil when it has all.
func (w *window) next() (*pending, uint64) {
	if w.sent == len(w.pending) {
		return nil, 0
	}
	return &w.pending[w.sent], w.oldest() + uint64(w.sent) //nolint:gosec // not negative
}

// oldest is the sequence of the first unacked observation, be it there or still to come.
func (w *window) oldest() uint64 { return w.acked + 1 }

// ack removes the oldest observation.
func (w *window) ack() pending {
	p := w.pending[0]
	w.drop()
	w.acked++
	return p
}

// drop takes the oldest observation out of the session: its sequence is the next one's now. Those in flight behind it
// carry numbers that are not theirs any more; the caller goes back.
func (w *window) drop() {
	w.pending[0] = pending{} // let go of the episode
	w.pending = w.pending[1:]
	w.sent = max(w.sent-1, 0)
}

// goBack sends everything unacked once more.
func (w *window) goBack() { w.sent = 0 }
