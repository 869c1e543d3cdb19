package observe

import "time"

// silence tells a person why nothing seems to happen: a sidecar without room holds a stream up without a word.
type silence struct {
	since time.Time // when an owed ack was first missed; zero when none is owed, or one has just come
	told  bool
}

// mind looks whether acks are late. It is called about ten times a second.
func (r *run) mind(now time.Time) {
	owed := len(r.pending) > 0 && !r.pending[0].first.IsZero()
	switch {
	case !owed:
		r.silence.since = time.Time{}
	case r.silence.since.IsZero():
		r.silence.since = now
	case !r.silence.told && now.Sub(r.silence.since) >= r.cfg.Patience:
		r.silence.told = true
		r.cfg.Notice("no ack has come for %v: the sidecar holds the stream up, `engram-sidecar status` says why; what was sent goes on when it does",
			r.cfg.Patience)
	}
}

// heard notes that an ack has come.
func (r *run) heard() {
	r.silence.since = time.Time{}
	if r.silence.told {
		r.silence.told = false
		r.cfg.Notice("acks come again")
	}
}
