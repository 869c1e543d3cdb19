package ledger

import (
	"slices"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// needed lists the tombs that must be carried when a generation goes, as the records that would be.
func (d *desk) needed(number uint64) (out []wal.Record) {
	for _, t := range d.x.generation(number).tombs {
		if d.x.needs(t, number) {
			out = append(out, t.record())
		}
	}
	return out
}

// An expiry is carried while an older generation tells of the session, and dropped with the last that does.
func TestTombOfASession(t *testing.T) {
	d := newDesk(t)
	d.commit(opened(1), opened(2))
	d.generation()
	d.commit(opened(3), observed(2, 1))
	d.generation()
	d.commit(expired(1), expired(3), expired(9), expired(2))
	if got := d.needed(3); len(got) != 3 || got[0].Session != id(1) || got[1].Session != id(3) || got[2].Session != id(2) {
		t.Fatalf("carried out of 3: %+v", got)
	}
	d.x.forget(2) // as when it is released
	if got := d.needed(3); len(got) != 2 || got[0].Session != id(1) || got[1].Session != id(2) || got[0].Kind != wal.KindSessionExpired {
		t.Fatalf("carried out of 3 without 2: %+v", got)
	}
	d.generation()
	d.commit(d.needed(3)...)
	if got := d.needed(3); len(got) != 0 {
		t.Fatalf("carried twice: %+v", got)
	}
	d.x.forget(3)
	if got := d.needed(4); len(got) != 2 || d.x.expired[id(3)] != nil || d.x.expired[id(1)] == nil {
		t.Fatalf("carried out of 4: %+v, tombs %v", got, d.x.expired)
	}
	d.x.forget(1)
	if got := d.needed(4); len(got) != 0 {
		t.Fatalf("carried for nobody: %+v", got)
	}
	d.x.forget(4)
	if len(d.x.expired) != 0 {
		t.Fatalf("tombs %v", d.x.expired)
	}
}

// A session that expires while it is being carried stays expired, in memory and at the next start, whatever is released.
func TestExpiredWhileItWasCarried(t *testing.T) {
	d := newDesk(t)
	d.commit(opened(1))
	carried := wal.Record{Kind: wal.KindCarriedSession, Session: id(1), Space: "default", Lane: wal.LaneNormal, Payload: wal.CarriedSession{}.Append(nil)}
	d.generation()
	d.commit(expired(1))
	d.generation()
	d.commit(carried)
	if len(d.Sessions()) != 0 {
		t.Fatal("it was raised")
	}
	if got := d.needed(2); len(got) != 1 {
		t.Fatalf("carried out of 2: %+v: the third generation tells of it", got)
	}
	for _, lose := range []func(){nil, d.loseFile} {
		d.reload(lose)
		if len(d.Sessions()) != 0 {
			t.Fatal("it was raised by a start")
		}
		if got := d.needed(2); len(got) != 1 {
			t.Fatalf("carried out of 2 after a start: %+v", got)
		}
	}
	d.x.forget(1) // the carried record is what the tomb is needed for now
	if got := d.needed(2); len(got) != 1 {
		t.Fatalf("carried out of 2 without 1: %+v", got)
	}
	d.commit(observed(1, 7)) // what comes after counts as a write all the same
	d.balanced(wal.Tally{Accepted: 1})
	if len(d.Sessions()) != 0 {
		t.Fatal("it was raised by a write")
	}
}

func settled(index uint64, f wal.Fate) wal.Record {
	return wal.Record{Kind: wal.KindSettled, Payload: wal.Settled{Index: index, Fate: f}.Append(nil)}
}

// The later fate of a dead letter is carried while its write, or a carried copy of it, is there.
func TestTombOfALetter(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observed(1, 1), observed(1, 2))
	d.bury(at[0], observed(1, 1))
	l := letterAt(at[0], observed(1, 1))
	d.generation()
	d.commit(l.record())
	d.generation()
	d.commit(settled(at[0], wal.Dropped))
	want := wal.Tally{Accepted: 2, Dropped: 1}
	d.balanced(want)
	d.reload(d.loseFile)
	d.balanced(want)
	for _, gone := range []uint64{1, 2} {
		got := d.needed(3)
		if len(got) != 1 || got[0].Kind != wal.KindSettled {
			t.Fatalf("before %d is gone: %+v", gone, got)
		}
		if s, err := wal.DecodeSettled(got[0].Payload); err != nil || s.Index != at[0] || s.Fate != wal.Dropped || !s.Again {
			t.Fatalf("carried %+v, %v", s, err)
		}
		d.x.forget(gone)
		d.history = slices.DeleteFunc(d.history, func(r told) bool { return r.generation == gone })
	}
	if got := d.needed(3); len(got) != 0 {
		t.Fatalf("carried for nobody: %+v", got)
	}
	d.x.forget(3)
	if len(d.x.settled) != 0 {
		t.Fatalf("tombs %v", d.x.settled)
	}
	d.balanced(want)
}

// After the file was lost twice the journal still tells the late fate of a letter that was never carried.
func TestTombOfALetterThatWasNotCarried(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observed(1, 1))
	d.bury(at[0], observed(1, 1))
	d.generation()
	d.commit(settled(at[0], wal.Delivered))
	d.reload(d.loseFile)
	d.generation()
	if got := d.needed(2); len(got) != 1 {
		t.Fatalf("carried out of 2: %+v", got)
	}
	d.commit(d.needed(2)...)
	d.x.forget(2)
	d.history = slices.DeleteFunc(d.history, func(r told) bool { return r.generation == 2 })
	d.reload(d.loseFile)
	d.balanced(wal.Tally{Accepted: 1, Delivered: 1})
}

// A letter that met its fate while it was being carried is no letter any more.
func TestLetterSettledWhileItWasCarried(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observed(1, 1))
	d.bury(at[0], observed(1, 1))
	l := letterAt(at[0], observed(1, 1))
	d.generation()
	d.commit(settled(at[0], wal.Dropped))
	d.generation()
	d.commit(l.record())
	for _, lose := range []func(){nil, d.loseFile} {
		d.letters()
		d.balanced(wal.Tally{Accepted: 1, Dropped: 1})
		if got := d.needed(2); len(got) != 1 {
			t.Fatalf("carried out of 2: %+v", got)
		}
		d.reload(lose)
	}
	d.letters()
	d.x.forget(1)
	if got := d.needed(2); len(got) != 1 {
		t.Fatalf("carried out of 2 without 1: %+v", got)
	}
}

// A late fate that no counter can have known, of a letter whose generation is not there, moves no count that is not there.
func TestLateFateOfNobody(t *testing.T) {
	d := newDesk(t)
	d.commit(settled(12345, wal.Dropped))
	d.balanced(wal.Tally{})
	d.reload(d.loseFile)
	d.balanced(wal.Tally{})
}
