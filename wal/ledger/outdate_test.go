package ledger

import (
	"context"
	"errors"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// again is a write of session n with the id of the one with that sequence.
func again(n byte, sequence, like uint64) wal.Record {
	r := observed(n, sequence)
	r.ID = observed(n, like).ID
	return r
}

func (s *shop) superseded(index uint64) bool {
	s.t.Helper()
	l, err := s.Letter(index)
	if err != nil {
		s.t.Fatal(err)
	}
	return l.Superseded
}

func TestOutdateFindsNewerWrites(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	at := s.write(observations(1, 3)...)
	s.write(again(1, 4, 1))
	elsewhere := again(1, 5, 2)
	elsewhere.Space = "another"
	s.write(elsewhere)
	s.bury(at[0], observed(1, 1))
	s.bury(at[1], observed(1, 2))
	through, err := s.Outdate(context.Background(), s.j, 0)
	if err != nil || through != s.j.Durable() {
		t.Fatalf("looked up to %d, %v", through, err)
	}
	if !s.superseded(at[0]) || s.superseded(at[1]) {
		t.Fatal("the id in another space is another memory")
	}
	s.write(again(1, 6, 2))
	if s.superseded(at[1]) {
		t.Fatal("known without a look")
	}
	if _, err := s.Outdate(context.Background(), s.j, through); err != nil || !s.superseded(at[1]) {
		t.Fatalf("not found behind index %d: %v", through, err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Outdate(ended, s.j, 0); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// That a letter is superseded survives the write that did it: its generation is released, then the ledger's file is lost.
func TestSupersededSurvivesTheNewerWrite(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	at := s.write(observations(1, 2)...)
	first := s.fill(1, 10)
	newer := s.write(again(1, 300, 1))
	second := s.fill(1, 400)
	s.bury(at[0], observed(1, 1))
	s.bury(at[1], observed(1, 2))
	s.deliver(1, first...)
	s.deliver(1, newer...)
	s.deliver(1, second...)
	s.round()
	s.left(3)
	if !s.superseded(at[0]) || s.superseded(at[1]) {
		t.Fatal("the letter does not know of the newer write, or the other does")
	}
	var released wal.Tally
	s.mu.Lock()
	released = s.x.released
	s.mu.Unlock()
	b := Unread(testJournal)
	b.Released(released, s.j.Durable())
	for _, g := range s.j.Generations() {
		var indexes []uint64
		for i := range g.Records {
			indexes = append(indexes, g.First+uint64(i))
		}
		if err := s.j.Read(indexes, func(r *wal.Record) error { return b.Apply(g.Number, r) }); err != nil {
			t.Fatal(err)
		}
	}
	b.Reconcile()
	if l := b.x.letters[at[0]]; l == nil || !l.superseded || !l.told {
		t.Fatalf("without the file: %+v", l)
	}
	if l := b.x.letters[at[1]]; l == nil || l.superseded {
		t.Fatalf("without the file: %+v", l)
	}
}

func TestLettersAreBounded(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 4)...)
	d.SetLimits(Limits{Count: 2})
	d.bury(at[0], observed(1, 1))
	d.bury(at[1], observed(1, 2))
	if err := d.Bury(letterAt(at[2], observed(1, 3))); !errors.Is(err, ErrTooMany) {
		t.Fatalf("a third one: %v", err)
	}
	d.bury(at[0], observed(1, 1)) // an answer that came twice is none more
	d.balanced(wal.Tally{Accepted: 4, Dead: 2})
	count, bytes, limits := d.LetterStats()
	if count != 2 || bytes <= 0 || limits.Count != 2 {
		t.Fatalf("%d letters, %d bytes, %+v", count, bytes, limits)
	}
	d.SetLimits(Limits{Bytes: bytes + 1})
	if err := d.Bury(letterAt(at[2], observed(1, 3))); !errors.Is(err, ErrTooMany) {
		t.Fatalf("above the bytes: %v", err)
	}
	d.commit(wal.Record{Kind: wal.KindSettled, Payload: wal.Settled{Index: at[0], Fate: wal.Dropped}.Append(nil)})
	d.bury(at[2], observed(1, 3))
	d.flush()
	d.reload(nil)
	if again, size, _ := d.LetterStats(); again != 2 || size != bytes {
		t.Fatalf("after a start %d letters of %d bytes, want 2 of %d", again, size, bytes)
	}
	d.letters(at[1], at[2])
}

func TestAmend(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 2)...)
	d.bury(at[0], observed(1, 1))
	d.flush()
	l, err := d.Letter(at[0])
	if err != nil {
		t.Fatal(err)
	}
	l.Reason, l.Attempts = "no, and I said so before", 3
	d.Amend(*l)
	d.Amend(letterAt(at[1], observed(1, 2))) // no letter
	check := func() {
		t.Helper()
		got, err := d.Letter(at[0])
		if err != nil || got.Reason != l.Reason || got.Attempts != 3 || len(d.Letters()) != 1 {
			t.Fatalf("letter %+v, %v", got, err)
		}
		if _, bytes, _ := d.LetterStats(); bytes != l.size() {
			t.Fatalf("%d bytes, want %d", bytes, l.size())
		}
	}
	check()
	d.flush()
	check()
	d.reload(nil)
	check()
}

func TestReadLettersBesideTheirWriter(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 3)...)
	d.bury(at[0], observed(1, 1))
	d.bury(at[2], observed(1, 3))
	d.flush()
	var got []uint64
	err := ReadLetters(d.dir, true, func(l *Letter) error { got = append(got, l.Index); return nil })
	if err != nil || len(got) != 2 || got[0] != at[0] || got[1] != at[2] {
		t.Fatalf("letters %v, %v", got, err)
	}
	if err := ReadLetters(t.TempDir(), true, nil); err == nil {
		t.Fatal("a directory without a file")
	}
}
