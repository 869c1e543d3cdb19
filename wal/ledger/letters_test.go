package ledger

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestBury(t *testing.T) {
	d := newDesk(t)
	d.commit(opened(1))
	at := d.commit(observations(1, 4)...)
	payload := []byte("a part of a large read")
	r := observed(1, 1)
	r.Payload, r.Batch, r.Kind = payload, 9, 0
	d.bury(at[0], r)
	copy(payload, "overwritten")
	d.bury(at[0], observed(1, 1)) // an answer that came twice
	d.bury(at[1], observed(1, 2))
	if err := d.Bury(letterAt(12345, observed(1, 2))); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		d.letters(at[0], at[1])
		d.balanced(wal.Tally{Accepted: 4, Dead: 2})
		if l, err := d.Letter(at[0]); err != nil || string(l.Payload) != "a part of a large read" || l.Sequence != 1 || l.Session != id(1) || l.Space != "default" || l.Lane != wal.LaneNormal || l.Form != wal.FormEpisode {
			t.Fatalf("letter %+v, %v", l, err)
		}
		if n, dead := d.Remaining(id(1)); n != 2 || dead != 2 {
			t.Fatalf("remaining %d, dead %d", n, dead)
		}
	}
	check() // from memory
	d.flush()
	check() // from the file
	d.reload(nil)
	check()
	if l, err := d.Letter(at[0]); err != nil || !bytes.Equal(l.ID, []byte{'m', 1, 1}) {
		t.Fatalf("letter %+v, %v", l, err)
	}
}

func TestBuryFillsInTheTime(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 1)...)
	l := letterAt(at[0], observed(1, 1))
	l.DiedAt = time.Time{}
	before := time.Now()
	if err := d.Bury(l); err != nil {
		t.Fatal(err)
	}
	got, err := d.Letter(at[0])
	if err != nil || got.DiedAt.Before(before) || got.DiedAt.After(time.Now()) {
		t.Fatalf("letter %+v, %v", got, err)
	}
	got.Reason = "changed by its reader"
	if again, err := d.Letter(at[0]); err != nil || again.Reason != l.Reason {
		t.Fatalf("letter %+v, %v", again, err)
	}
}

// Letters that cannot be written down are bounded in memory: the write stays pending, and is buried when there is room.
func TestBuryIsBounded(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 40)...)
	big := observed(1, 1)
	big.Payload = make([]byte, 1<<20)
	n := 0
	for ; ; n++ {
		err := d.Bury(letterAt(at[n], big))
		if errors.Is(err, ErrBusy) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n != 15 { // 15 letters of 1 MiB and a little
		t.Fatalf("%d letters before it was busy", n)
	}
	select {
	case <-d.kick:
	default:
		t.Fatal("the keeper was not woken")
	}
	d.balanced(wal.Tally{Accepted: 40, Dead: 15})
	d.flush()
	if d.waiting != 0 || len(d.unwritten) != 0 {
		t.Fatalf("%d bytes of %d letters wait after a flush", d.waiting, len(d.unwritten))
	}
	d.bury(at[n], big)
	huge := big
	huge.Payload = make([]byte, maxUnwritten+1)
	d.flush()
	d.bury(at[n+1], huge) // alone it must get through
	d.balanced(wal.Tally{Accepted: 40, Dead: 17})
	d.flush()
	d.reload(nil)
	d.letters(at[:17]...)
}

// A dead letter whose letter is gone from the file is delivered again rather than lost.
func TestDeadWithoutItsLetter(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 2)...)
	d.bury(at[0], observed(1, 1))
	d.gone.letters[at[0]] = true
	d.unwritten = map[uint64]*Letter{}
	d.flush()
	d.reload(nil)
	d.balanced(wal.Tally{Accepted: 2})
	d.letters()
}

// A letter in the file whose write is not dead is none, and is taken out of the file.
func TestLetterOfALivingWrite(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 1)...)
	l := letterAt(at[0], observed(1, 1))
	d.keep(&l)
	d.flush()
	d.reload(nil)
	d.letters()
	d.balanced(wal.Tally{Accepted: 1})
	d.flush()
	d.close()
	k, err := readDisk(d.path(), testJournal)
	if err != nil || len(k.letters) != 0 {
		t.Fatalf("letters in the file: %v, %v", k.letters, err)
	}
	d.load(nil)
}

// fates is the journal as Resolve sees it.
type fates struct {
	d        *desk
	err      error
	released []bool
}

func (f *fates) Settle(ctx context.Context, index uint64, fate wal.Fate, released bool) error {
	if ctx.Err() != nil {
		f.d.t.Error("the journal was given a context that ends")
	}
	f.released = append(f.released, released)
	if f.err == nil {
		f.d.commit(wal.Record{Kind: wal.KindSettled, Payload: wal.Settled{Index: index, Fate: fate}.Append(nil)})
	}
	return f.err
}

func TestResolve(t *testing.T) {
	d := newDesk(t)
	d.commit(opened(1))
	at := d.commit(observations(1, 5)...)
	for i := range uint64(4) {
		d.bury(at[i], observed(1, i+1))
	}
	d.flush()
	f := &fates{d: d}
	resolve := func(i uint64, fate wal.Fate) error { return d.Resolve(t.Context(), f, i, fate) }
	if err := errors.Join(resolve(at[0], wal.Delivered), resolve(at[1], wal.Dropped)); err != nil {
		t.Fatal(err)
	}
	for _, i := range []uint64{at[0], at[4], 999} {
		if err := resolve(i, wal.Dropped); !errors.Is(err, ErrNoLetter) {
			t.Errorf("index %d: %v", i, err)
		}
	}
	f.err = wal.ErrFull
	if err := resolve(at[2], wal.Dropped); !errors.Is(err, wal.ErrFull) {
		t.Errorf("journal full: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Resolve(ended, f, at[2], wal.Dropped); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
	for _, released := range f.released {
		if released {
			t.Error("its generation is still there")
		}
	}
	want := wal.Tally{Accepted: 5, Delivered: 1, Dropped: 1, Dead: 2}
	d.balanced(want)
	d.letters(at[2], at[3])
	d.reload(nil) // without a flush: the journal tells
	d.balanced(want)
	d.letters(at[2], at[3])
	d.flush()
	d.reload(nil)
	d.balanced(want)
	d.reload(d.loseFile) // the letters that were not carried are delivered again
	d.balanced(wal.Tally{Accepted: 5, Delivered: 1, Dropped: 1})
}

// A letter that met its fate before it was written is not written.
func TestResolvedBeforeItWasWritten(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 1)...)
	d.bury(at[0], observed(1, 1))
	if err := d.Resolve(t.Context(), &fates{d: d}, at[0], wal.Dropped); err != nil {
		t.Fatal(err)
	}
	if d.waiting != 0 {
		t.Fatalf("%d bytes wait", d.waiting)
	}
	d.flush()
	d.close()
	k, err := readDisk(d.path(), testJournal)
	if err != nil || len(k.letters) != 0 {
		t.Fatalf("letters in the file: %v, %v", k.letters, err)
	}
	d.load(nil)
}

// Letters that the journal carries and a lost file does not hold are read again, in portions.
func TestManyCarriedLetters(t *testing.T) {
	d := newDesk(t)
	var want []uint64
	for i := range uint64(30) {
		l := letterAt(1000+i, observed(1, i+1))
		l.Payload = bytes.Repeat([]byte{byte(i)}, 1<<20)
		if i == 15 {
			d.generation()
		}
		d.commit(l.record())
		want = append(want, l.Index)
	}
	d.commit(wal.Record{Kind: wal.KindSettled, Payload: wal.Settled{Index: 1003, Fate: wal.Dropped, Again: true}.Append(nil)})
	want = append(want[:3:3], want[4:]...)
	for range 2 {
		d.reload(func() { _ = os.Remove(d.path()) })
		if d.waiting > maxUnwritten+2<<20 {
			t.Fatalf("%d bytes of letters in memory", d.waiting)
		}
		d.letters(want...)
		if l, err := d.Letter(1020); err != nil || len(l.Payload) != 1<<20 || l.Payload[5] != 20 || l.Sequence != 21 {
			t.Fatalf("letter %+v, %v", l, err)
		}
	}
	d.reload(nil)
	d.letters(want...)
}
