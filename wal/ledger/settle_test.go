package ledger

import (
	"slices"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestSettle(t *testing.T) {
	d := newDesk(t)
	d.commit(wal.Record{Kind: wal.KindHead}, opened(1))
	at := d.commit(observations(1, 5)...)
	other := d.commit(wal.Record{Kind: wal.KindWrite, Lane: wal.LaneNormal, Space: "default"}) // of no session
	d.balanced(wal.Tally{Accepted: 6})
	if !d.Settle(at[0], id(1), wal.Delivered) || !d.Settle(at[1], id(1), wal.Damaged) || !d.Settle(other[0], wal.SessionID{}, wal.Dropped) {
		t.Fatal("a pending write could not be settled")
	}
	for _, i := range []uint64{at[0], at[1], 1, 2, 0, 1000} { // settled, no writes, and unknown
		if d.Settle(i, id(1), wal.Delivered) {
			t.Errorf("index %d was settled", i)
		}
	}
	d.balanced(wal.Tally{Accepted: 6, Delivered: 1, Damaged: 1, Dropped: 1})
	if want := at[2:]; !slices.Equal(d.pending(), want) {
		t.Fatalf("pending %v, want %v", d.pending(), want)
	}
	for i, pending := range map[uint64]bool{at[0]: false, at[1]: false, other[0]: false, at[2]: true, at[4]: true, 1: false, 0: false, 1000: false} {
		if d.IsPending(i) != pending {
			t.Errorf("index %d is pending: %v, want %v", i, !pending, pending)
		}
	}
	if pending, dead := d.Remaining(id(1)); pending != 3 || dead != 0 {
		t.Fatalf("remaining %d, %d dead", pending, dead)
	}
	if through := d.Through(id(1)); through != 2 {
		t.Fatalf("settled through %d", through)
	}
	if n, dead := d.Remaining(id(9)); n+dead+d.Through(id(9)) != 0 {
		t.Fatal("something remains of a session that is none")
	}
}

func TestPendingStopsWhenToldTo(t *testing.T) {
	d := newDesk(t)
	d.commit(observations(1, 3)...)
	d.generation()
	d.commit(observations(2, 70)...)
	d.Settle(40, id(2), wal.Delivered)
	var runs [][2]uint64
	d.Pending(func(first, last uint64) bool { runs = append(runs, [2]uint64{first, last}); return true })
	if want := [][2]uint64{{1, 3}, {5, 39}, {41, 74}}; !slices.Equal(runs, want) {
		t.Fatalf("runs %v, want %v", runs, want)
	}
	for stop := 1; stop <= 2; stop++ {
		n := 0
		d.Pending(func(uint64, uint64) bool { n++; return n < stop })
		if n != stop {
			t.Errorf("visited %d runs, want %d", n, stop)
		}
	}
}

func TestChangedIsClosedByEverySettlement(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 3)...)
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	c := d.Changed()
	if c != d.Changed() || closed(c) {
		t.Fatal("changed without a settlement")
	}
	d.Settle(at[0], id(1), wal.Delivered)
	if !closed(c) || closed(d.Changed()) {
		t.Fatal("a settlement")
	}
	c = d.Changed()
	d.bury(at[1], observed(1, 2))
	if !closed(c) {
		t.Fatal("a burial")
	}
	c = d.Changed()
	d.commit(wal.Record{Kind: wal.KindSettled, Payload: wal.Settled{Index: at[1], Fate: wal.Dropped}.Append(nil)})
	if !closed(c) {
		t.Fatal("a late fate")
	}
	c = d.Changed()
	if d.Settle(at[0], id(1), wal.Delivered); closed(c) {
		t.Fatal("changed by what was settled before")
	}
}

func TestSessions(t *testing.T) {
	d := newDesk(t)
	d.commit(opened(1), opened(2), opened(3), opened(4), opened(5))
	d.commit(observed(1, 1), observed(1, 2), observed(2, 1))
	stray := observed(4, 1)
	stray.Space = "elsewhere"
	d.commit(stray)
	at := time.Unix(77, 0)
	d.commit(
		wal.Record{Kind: wal.KindSessionClosed, Session: id(2), Space: "default", Lane: wal.LaneNormal, Sequence: 1, Payload: wal.CarriedSession{ClosedAt: at.UnixNano()}.Append(nil)},
		wal.Record{Kind: wal.KindSessionClosed, Session: id(5), Space: "default", Lane: wal.LaneNormal, Time: at.UnixNano()},
		expired(3),
	)
	check := func(when string) {
		t.Helper()
		if n := len(d.Sessions()); n != 4 {
			t.Fatalf("%s: %d sessions", when, n)
		}
		if s := d.session(1); s.Last != 2 || s.Closed || s.Space != "default" || s.Lane != wal.LaneNormal {
			t.Fatalf("%s: %+v", when, s)
		}
		for _, n := range []byte{2, 5} {
			if s := d.session(n); !s.Closed || !s.ClosedAt.Equal(at) {
				t.Fatalf("%s: %+v", when, s)
			}
		}
		if s := d.session(4); s.Space != "default" || s.Last != 1 {
			t.Fatalf("%s: %+v", when, s)
		}
	}
	check("told")
	d.flush()
	d.reload(nil)
	check("reloaded")
	d.reload(func() { d.loseFile() })
	check("built from the journal")
	all := d.history
	d.history = nil // all their records are gone: what only the file tells stays
	d.flush()
	d.reload(nil)
	check("known from the file")
	d.history = append(all, told{2, wal.Record{Kind: wal.KindSessionExpired, Session: id(4), Index: 99}})
	d.reload(nil)
	if s := d.session(4); !s.ID.IsZero() {
		t.Fatalf("an expired session was raised from the file: %+v", s)
	}
}

// A record that this process wrote and cannot read back is logged, and the rest of the batch counts.
func TestUnreadableRecordInACommit(t *testing.T) {
	d := newDesk(t)
	for _, k := range []wal.Kind{wal.KindCarriedLetter, wal.KindSettled, wal.KindCarriedSession} {
		d.commit(wal.Record{Kind: k, Session: id(1), Payload: []byte("?")}, wal.Record{Kind: wal.KindWrite})
	}
	d.balanced(wal.Tally{Accepted: 3})
}
