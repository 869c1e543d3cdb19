package session_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/engram-sidecar/engram-sidecar/proxy/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func id(n byte) session.ID { return session.ID{15: n} }

func open(t *testing.T, m *session.Manager, n byte) *session.Attachment {
	t.Helper()
	a, err := m.Open(id(n), "default", 2)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func attach(t *testing.T, m *session.Manager, n byte) *session.Attachment {
	t.Helper()
	a, err := m.Attach(id(n))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func accept(t *testing.T, a *session.Attachment, seq uint64) {
	t.Helper()
	if err := a.Check(seq); err != nil {
		t.Fatalf("sequence %d: %v", seq, err)
	}
	a.Accepted(seq)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestSequenceRules(t *testing.T) {
	a := open(t, session.New(session.Config{}), 1)
	if !closed(a.Ready()) || closed(a.Fenced()) {
		t.Fatal("the first attachment is not ready, or fenced")
	}
	for seq := uint64(1); seq <= 4; seq++ {
		accept(t, a, seq)
	}
	for name, got := range map[string]uint64{"gap": 10, "duplicate": 4, "old": 1, "none": 0} {
		var mismatch *session.SequenceError
		if err := a.Check(got); !errors.As(err, &mismatch) || *mismatch != (session.SequenceError{Expected: 5, Got: got}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	want := "sequence mismatch: expected 5, got 10; resend from 5"
	if err := a.Check(10); err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if err := a.Check(5); err != nil {
		t.Errorf("a refusal used up the sequence: %v", err)
	}
}

func TestRollBack(t *testing.T) {
	a := open(t, session.New(session.Config{}), 1)
	for seq := uint64(1); seq <= 5; seq++ {
		accept(t, a, seq)
	}
	a.Durable(3)
	a.Durable(2) // late news changes nothing
	if next := a.RollBack(); next != 4 || a.Next() != 4 {
		t.Errorf("after the roll-back %d is expected, %d next; want 4", next, a.Next())
	}
	accept(t, a, 4)
}

func TestPauseRefusesAndResumeTakesAgain(t *testing.T) {
	a := open(t, session.New(session.Config{}), 1)
	accept(t, a, 1)
	if err := a.Pause(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "paused", a.Check(2), session.ErrPaused)
	if a.State() != session.Paused || a.State().String() != "paused" {
		t.Errorf("state %v", a.State())
	}
	if err := a.Resume(); err != nil {
		t.Fatal(err)
	}
	accept(t, a, 2)
}

func TestTakeOverWaitsForOutstandingWrites(t *testing.T) {
	m := session.New(session.Config{})
	old := open(t, m, 1)
	accept(t, old, 1)
	accept(t, old, 2)

	heir := attach(t, m, 1)
	if !closed(old.Fenced()) || closed(heir.Ready()) || closed(heir.Fenced()) {
		t.Fatal("want the old one fenced and the new one waiting")
	}
	wantErr(t, "fenced", old.Check(3), session.ErrFenced)
	wantErr(t, "fenced pause", old.Pause(), session.ErrFenced)

	old.Durable(1) // the fsync of 2 is refused
	old.Release()
	if !closed(heir.Ready()) {
		t.Fatal("the new one is not ready after the release")
	}
	if heir.Next() != 2 {
		t.Errorf("the new one goes on at %d, want 2", heir.Next())
	}
	old.Release() // and again: nothing happens
	accept(t, heir, 2)
	if next := heir.Next(); next != 3 {
		t.Errorf("a second release rolled back the new owner: %d is next", next)
	}
}

func TestTakeOverOfAWaitingOne(t *testing.T) {
	m := session.New(session.Config{})
	first := open(t, m, 1)
	accept(t, first, 1)
	second, third := attach(t, m, 1), attach(t, m, 1)
	if !closed(second.Fenced()) {
		t.Fatal("the waiting one was not fenced")
	}
	second.Release()
	if closed(third.Ready()) {
		t.Fatal("ready while the first one's writes are in flight")
	}
	first.Durable(1) // would panic had the second one's release rolled it back
	first.Release()
	if !closed(third.Ready()) || third.Next() != 2 {
		t.Errorf("ready %v, next %d", closed(third.Ready()), third.Next())
	}
}

func TestCloseEndsTheSession(t *testing.T) {
	m := session.New(session.Config{})
	a := open(t, m, 1)
	accept(t, a, 1)
	waiting := attach(t, m, 1)
	a.Close()
	a.Close()
	_, err := m.Attach(id(1))
	wantErr(t, "attach", err, session.ErrClosed)
	a.Durable(1)
	a.Release()
	if !closed(waiting.Ready()) || waiting.State() != session.Closed {
		t.Error("who waited for a session that was closed must find it closed")
	}
	wantErr(t, "check", waiting.Check(2), session.ErrClosed)
	wantErr(t, "resume", waiting.Resume(), session.ErrClosed)
	waiting.Release()
	if m.Count() != 0 || len(m.List()) != 1 {
		t.Errorf("%d open, %d known; want 0 and 1", m.Count(), len(m.List()))
	}
}

func TestLimit(t *testing.T) {
	m := session.New(session.Config{Limit: 2})
	a := open(t, m, 1)
	open(t, m, 2)
	_, err := m.Open(id(3), "default", 2)
	wantErr(t, "third", err, session.ErrTooMany)
	a.Close()
	open(t, m, 3) // a closed one does not count
	if _, err := m.Open(id(3), "default", 2); err == nil {
		t.Error("the same id was opened twice")
	}
}

func TestAbandonForgets(t *testing.T) {
	m := session.New(session.Config{Limit: 1})
	open(t, m, 1).Abandon()
	_, err := m.Attach(id(1))
	wantErr(t, "abandoned", err, session.ErrNotFound)
	open(t, m, 2)
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := session.New(session.Config{Timeout: time.Minute})
		connected, left := open(t, m, 1), open(t, m, 2)
		connected.Durable(0)
		left.Release()
		ended := open(t, m, 3)
		ended.Close()
		ended.Release()

		time.Sleep(time.Minute - 1)
		if gone := m.Expire(time.Now()); len(gone) != 0 {
			t.Fatalf("expired %v before the timeout", gone)
		}
		back := attach(t, m, 2) // back in the last moment
		time.Sleep(time.Hour)
		if gone := m.Expire(time.Now()); len(gone) != 1 || gone[0] != id(3) {
			t.Fatalf("expired %v, want the closed one alone: the others are connected", gone)
		}
		back.Release()
		time.Sleep(time.Minute)
		if gone := m.Expire(time.Now()); len(gone) != 1 || gone[0] != id(2) {
			t.Fatalf("expired %v, want the one that left", gone)
		}
		_, err := m.Attach(id(2))
		wantErr(t, "expired", err, session.ErrNotFound)
		if _, ok := m.Durable(id(2)); ok {
			t.Error("an expired session still has a sequence")
		}
	})
}

func TestClosedOnesAreNotHoarded(t *testing.T) {
	m := session.New(session.Config{Limit: 2})
	for n := byte(1); n <= 5; n++ {
		a := open(t, m, n)
		a.Close()
		a.Release()
	}
	if gone := m.Expire(time.Now()); len(gone) != 3 || gone[0] != id(1) {
		t.Errorf("expired %v, want the three oldest", gone)
	}
}

func TestDrainingSessionStaysKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := session.New(session.Config{Timeout: time.Minute})
		a := open(t, m, 1)
		a.Close()
		time.Sleep(time.Hour)
		if gone := m.Expire(time.Now()); len(gone) != 0 {
			t.Fatalf("expired %v, whose stream is still there", gone)
		}
		a.Release()
		time.Sleep(time.Minute)
		if gone := m.Expire(time.Now()); len(gone) != 1 {
			t.Fatalf("expired %v, want the one that has drained", gone)
		}
	})
}

func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := session.New(session.Config{Timeout: time.Minute, Limit: 3})
		now := time.Now()
		m.Restore([]session.Snapshot{
			{ID: id(1), Space: "a", Lane: 1, Last: 41},
			{ID: id(2), Space: "b", Lane: 3, Last: 7},
			{ID: id(6)},
			{ID: id(7)},
			{ID: id(3), Last: 1, Closed: true, ClosedAt: now.Add(-10 * time.Second)},
			{ID: id(4), Last: 1, Closed: true, ClosedAt: now.Add(-50 * time.Second)},
			{ID: id(5), Last: 1, Closed: true, ClosedAt: now.Add(time.Hour)}, // the wall clock was set back
		})
		if m.Count() != 4 {
			t.Fatalf("%d open, want 4, above the limit", m.Count())
		}
		a := attach(t, m, 1)
		if a.Next() != 42 || a.Space() != "a" || a.Lane() != 1 || a.ID() != id(1) {
			t.Errorf("restored as %d %q %d %x", a.Next(), a.Space(), a.Lane(), a.ID())
		}
		a.Release()
		for _, step := range []struct {
			after time.Duration
			gone  []session.ID
		}{
			{10 * time.Second, []session.ID{id(4)}},
			{50 * time.Second, []session.ID{id(2), id(6), id(7), id(1), id(3), id(5)}},
		} {
			time.Sleep(step.after)
			gone := m.Expire(time.Now())
			if len(gone) != len(step.gone) {
				t.Fatalf("expired %v, want %v", gone, step.gone)
			}
			for i := range gone {
				if gone[i] != step.gone[i] {
					t.Fatalf("expired %v, want %v", gone, step.gone)
				}
			}
		}
	})
}

func TestConfigValidate(t *testing.T) {
	for want, cfg := range map[string]session.Config{
		"session-timeout: expected a duration above 0, got -1s": {Timeout: -time.Second},
		"max-sessions: expected a number above 0, got -3":       {Limit: -3},
	} {
		if err := cfg.Validate(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := (session.Config{}).Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}
