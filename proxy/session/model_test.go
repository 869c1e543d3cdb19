package session_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/proxy/session"
)

// The model is what a reader of the protocol would write down: for each session three numbers, a state, and a queue of
// streams of which the first works and the last holds.
type model struct {
	m        *session.Manager
	next     byte
	sessions map[byte]*modelSession
}

type modelSession struct {
	accepted, durable uint64
	state             session.State
	streams           []*modelStream
	since             time.Time // without a stream, or closed
	left              time.Time // without a stream
}

type modelStream struct {
	a      *session.Attachment
	fenced bool
}

// modelTimeout is short because rapid's own deadline passes on the bubble's clock too.
const modelTimeout = time.Second

func TestAgainstModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, func(t *rapid.T) { // a bare *testing.T would be asked for its real deadline
			w := &model{
				m:        session.New(session.Config{Timeout: modelTimeout, Limit: 4}),
				sessions: map[byte]*modelSession{},
			}
			t.Repeat(map[string]func(*rapid.T){
				"open": w.open, "attach": w.attach, "observe": w.observe, "commit": w.commit, "refuse": w.refuse,
				"release": w.release, "pause": w.pause, "close": w.close, "time": w.time, "": w.compare,
			})
		})
	})
}

func (w *model) openCount() (n int) {
	for _, s := range w.sessions {
		if s.state != session.Closed {
			n++
		}
	}
	return n
}

func (w *model) open(t *rapid.T) {
	w.next++
	a, err := w.m.Open(id(w.next), "default", 2)
	if full := w.openCount() >= 4; full != errors.Is(err, session.ErrTooMany) || full != (err != nil) {
		t.Fatalf("open with %d open: %v", w.openCount(), err)
	}
	if err == nil {
		w.sessions[w.next] = &modelSession{streams: []*modelStream{{a: a}}}
	}
}

func (w *model) attach(t *rapid.T) {
	n := rapid.ByteRange(1, w.next+1).Draw(t, "session")
	s := w.sessions[n]
	a, err := w.m.Attach(id(n))
	switch {
	case s == nil:
		if !errors.Is(err, session.ErrNotFound) {
			t.Fatalf("unknown session: %v", err)
		}
	case s.state == session.Closed:
		if !errors.Is(err, session.ErrClosed) {
			t.Fatalf("closed session: %v", err)
		}
	case err != nil:
		t.Fatal(err)
	default:
		for _, earlier := range s.streams {
			earlier.fenced = true
		}
		s.streams = append(s.streams, &modelStream{a: a})
	}
}

// pick draws a session with a stream, and gives the stream that works and the one that holds.
func (w *model) pick(t *rapid.T) (s *modelSession, works, holds *modelStream) {
	var able []*modelSession
	for n := byte(1); n <= w.next; n++ {
		if s := w.sessions[n]; s != nil && len(s.streams) > 0 {
			able = append(able, s)
		}
	}
	if len(able) == 0 {
		t.Skip("no session has a stream")
	}
	s = rapid.SampledFrom(able).Draw(t, "connected session")
	return s, s.streams[0], s.streams[len(s.streams)-1]
}

func (w *model) observe(t *rapid.T) {
	s, works, _ := w.pick(t)
	seq := rapid.Uint64Range(0, s.accepted+3).Draw(t, "sequence")
	err := works.a.Check(seq)
	var mismatch *session.SequenceError
	switch {
	case works.fenced:
		wantClass(t, err, session.ErrFenced)
	case s.state == session.Closed:
		wantClass(t, err, session.ErrClosed)
	case s.state == session.Paused:
		wantClass(t, err, session.ErrPaused)
	case seq != s.accepted+1:
		if !errors.As(err, &mismatch) || mismatch.Expected != s.accepted+1 || mismatch.Got != seq {
			t.Fatalf("sequence %d after %d: %v", seq, s.accepted, err)
		}
	case err != nil:
		t.Fatalf("sequence %d after %d: %v", seq, s.accepted, err)
	default:
		works.a.Accepted(seq)
		s.accepted = seq
	}
}

func wantClass(t *rapid.T, got, want error) {
	if !errors.Is(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func (w *model) commit(t *rapid.T) {
	s, works, _ := w.pick(t)
	seq := rapid.Uint64Range(0, s.accepted).Draw(t, "durable")
	works.a.Durable(seq)
	s.durable = max(s.durable, seq)
}

func (w *model) refuse(t *rapid.T) {
	s, works, _ := w.pick(t)
	if next := works.a.RollBack(); next != s.durable+1 {
		t.Fatalf("rolled back to %d, want %d", next, s.durable+1)
	}
	s.accepted = s.durable
}

func (w *model) release(t *rapid.T) {
	s, works, holds := w.pick(t)
	if rapid.Bool().Draw(t, "the one that waits") && works != holds {
		holds.a.Release()
		s.streams = s.streams[:len(s.streams)-1]
		return
	}
	works.a.Release()
	s.accepted = s.durable
	s.streams = s.streams[1:]
	if len(s.streams) == 0 {
		s.left = time.Now()
		if s.state != session.Closed {
			s.since = s.left
		}
	}
}

func (w *model) pause(t *rapid.T) {
	s, _, holds := w.pick(t)
	if holds.fenced {
		t.Skip("who took the session over has left: nobody holds it until somebody attaches")
	}
	act, state := holds.a.Pause, session.Paused
	if rapid.Bool().Draw(t, "resume") {
		act, state = holds.a.Resume, session.Active
	}
	err := act()
	if s.state == session.Closed {
		wantClass(t, err, session.ErrClosed)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	s.state = state
}

func (w *model) close(t *rapid.T) {
	s, works, _ := w.pick(t)
	works.a.Close()
	if s.state != session.Closed {
		s.state, s.since = session.Closed, time.Now()
	}
}

func (w *model) time(t *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(1, 700).Draw(t, "milliseconds")) * time.Millisecond)
	gone := map[session.ID]bool{}
	for _, id := range w.m.Expire(time.Now()) {
		gone[id] = true
	}
	known := len(w.sessions) - w.openCount()
	for n := byte(1); n <= w.next; n++ {
		s := w.sessions[n]
		if s == nil {
			continue
		}
		idle := len(s.streams) == 0
		late := time.Since(s.since)
		switch {
		case !gone[id(n)]: // a closed one may stay for two timeouts after its stream has left
			if idle && (s.state != session.Closed && late >= modelTimeout || time.Since(s.left) >= 2*modelTimeout) {
				t.Fatalf("session %d is past its timeout and was not forgotten", n)
			}
		case !idle:
			t.Fatalf("session %d was forgotten while it was connected", n)
		case late < modelTimeout && !(s.state == session.Closed && known > 4):
			t.Fatalf("session %d was forgotten before its time", n)
		default:
			delete(w.sessions, n)
		}
	}
}

func (w *model) compare(t *rapid.T) {
	if w.m.Count() != w.openCount() {
		t.Fatalf("%d open, the model has %d", w.m.Count(), w.openCount())
	}
	seen := 0
	for _, info := range w.m.List() {
		s := w.sessions[info.ID[15]]
		if s == nil {
			t.Fatalf("session %x is known and should not be", info.ID)
		}
		seen++
		want := session.Info{
			ID: info.ID, Space: "default", Lane: 2, State: s.state, Connected: len(s.streams) > 0,
			Waiting: max(len(s.streams)-1, 0), Accepted: s.accepted, Durable: s.durable,
		}
		if info != want {
			t.Fatalf("got %+v, want %+v", info, want)
		}
		for i, stream := range s.streams {
			if got := closed(stream.a.Ready()); got != (i == 0) {
				t.Fatalf("stream %d of %d ready: %v", i, len(s.streams), got)
			}
			if got := closed(stream.a.Fenced()); got != stream.fenced {
				t.Fatalf("stream %d of %d fenced: %v", i, len(s.streams), got)
			}
		}
	}
	if seen != len(w.sessions) {
		t.Fatalf("%d sessions known, the model has %d", seen, len(w.sessions))
	}
}
