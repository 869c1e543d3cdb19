package forward

import (
	"container/heap"
	"context"
	"fmt"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// A record that fails alone, with nothing else there to succeed, cannot be told from an outage, and holds its session. So
// after Config.Tries failures one that waits behind it is tried, each time another one. When the store takes that, it is
// well, and the first is tried once more: where it fails again it is dead, as if ten others had succeeded meanwhile. What
// was taken as a probe is not reported, for its turn has not come; it is sent again then, which every store takes without
// harm. Nothing is decided by a probe that fails.

// probeBehind asks for the record behind a trial that is due. It returns false where no trial needs it.
func (f *Forwarder) probeBehind(life context.Context) bool {
	if f.breaker.current() != Closed && f.queue.Waiting() > 0 {
		return false // there is something better to probe with
	}
	t, ref := f.lot.stuck(time.Now(), f.cfg.Tries)
	if t == nil {
		return false
	}
	r := &f.round
	start := time.Now()
	f.admitProbe(ref)
	f.board.begin(r.items)
	f.put(life)
	f.successes += r.succeeded
	for i := range r.items {
		switch err := r.items[i].err; {
		case err == nil:
			t.counted = max(t.counted, f.cfg.Tries-1)
		default:
			f.board.note(store.ClassOf(err).String(), err)
		}
		f.board.retry(1)
	}
	f.board.finish()
	f.steer(time.Now(), 0, time.Since(start))
	r.clear()
	return true
}

// admitProbe makes a round of one record, if it can be read. It stays where it waits.
func (f *Forwarder) admitProbe(ref queue.Ref) {
	r := &f.round
	loaded, err := f.load([]queue.Ref{ref}, r.items)
	switch {
	case err != nil:
		f.ownFailure("journal", fmt.Errorf("read back: %w", err))
	case loaded[0].fate == undecided:
		loaded[0].group = 0
		r.groups[0].batch = append(r.groups[0].batch, loaded[0].rec)
		r.items = loaded
		return
	}
	clear(loaded)
}

// rebury tries to bury one that the sink could not take, while nothing else goes on because of it: there must not be more
// and more of them. It returns false where there is none.
func (f *Forwarder) rebury(life context.Context) bool {
	if f.hold.current() == Closed {
		return false
	}
	ref, ok := f.lot.takeCondemned()
	if ok {
		f.deliver(life, []queue.Ref{ref})
	}
	return ok
}

// stuck finds the trial that is due first, where it has failed so often that one behind it should be asked for, and has not
// been asked for since it failed last.
func (l *lot) stuck(now time.Time, tries int) (*trial, queue.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return nil, queue.Ref{}
	}
	t := l.waiting[0]
	if t.due.After(now) || t.verdict != "" || t.attempts < tries || t.asked == t.attempts || len(t.behind) == 0 {
		return nil, queue.Ref{}
	}
	t.asked = t.attempts
	return t, t.next()
}

// next is one of those that wait behind t, each time another one.
func (t *trial) next() queue.Ref {
	for at := t.ahead; ; at = 0 {
		skip := at
		for _, s := range t.behind {
			if skip < uint64(s.count) {
				t.ahead = at + 1
				return queue.Ref{Index: s.first + skip, Lane: int(s.lane), At: time.Unix(s.at, 0)}
			}
			skip -= uint64(s.count)
		}
	}
}

// takeCondemned returns the reference of a trial that is dead and could not be buried; it waits no longer.
func (l *lot) takeCondemned() (queue.Ref, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, t := range l.waiting {
		if t.verdict != "" {
			heap.Remove(&l.waiting, i)
			return t.ref, true
		}
	}
	return queue.Ref{}, false
}
