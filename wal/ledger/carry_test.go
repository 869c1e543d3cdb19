package ledger

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// What only a generation tells is told again before it goes, once: rounds without news write nothing.
func TestCarrying(t *testing.T) {
	s := newShop(t)
	s.write(opened(1), opened(2), opened(3))
	s.write(wal.Record{Kind: wal.KindSessionClosed, Session: id(3), Space: "default", Lane: wal.LaneNormal, Time: 5})
	dead := s.write(observed(2, 1))[0]
	all := s.fill(1, 0)
	s.bury(dead, observed(2, 1))
	s.deliver(1, all...)
	before := s.j.Durable()
	s.round()
	s.left(2)
	if n := s.j.Durable() - before; n != 4 { // two sessions, a letter, a released record; session 1 is told by the second
		t.Fatalf("%d records to give back one generation", n)
	}
	for range 3 {
		s.round()
	}
	if n := s.j.Durable() - before; n != 4 {
		t.Fatalf("%d records after more rounds", n)
	}
	s.letters(dead)
	for _, n := range []byte{1, 2, 3} {
		if x := s.x.sessions[id(n)]; x == nil || x.home != 2 || x.Closed != (n == 3) {
			t.Fatalf("session %d: %+v", n, x)
		}
	}
}

// A generation stays where carrying would cost more than half of what it gives back, and goes when that has become less.
func TestCarryingIsBounded(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	all := s.fill(1, 0)
	mine := all[:len(all)-1]
	for i, at := range mine[:7] {
		r := observed(1, uint64(i+1))
		r.Payload = bytes.Repeat([]byte{1}, 6000)
		s.bury(at, r)
	}
	s.deliver(1, mine[7:]...)
	for range 3 {
		s.round()
	}
	s.left(1, 2)
	if err := errors.Join(s.Resolve(t.Context(), s.j, mine[0], wal.Dropped), s.Resolve(t.Context(), s.j, mine[1], wal.Dropped), s.Resolve(t.Context(), s.j, mine[2], wal.Dropped)); err != nil {
		t.Fatal(err)
	}
	s.deliver(1, all[len(all)-1])
	s.deliver(1, s.fill(1, 100)...) // so that the late fates stand before a head
	s.round()
	if slices.Contains(s.generations(), 1) {
		t.Fatalf("generations %v", s.generations())
	}
	s.left(s.generations()...)
	s.lettersAre(mine[3:7])
	// A generation that holds hardly anything but letters is not copied on, however often it is looked at.
	durable := s.j.Durable()
	s.deliver(1, s.fill(1, 200)...)
	s.round()
	s.round()
	if n := s.j.Durable() - durable; n > 20 {
		t.Fatalf("%d more records", n)
	}
}

// many appends records without waiting for each.
func (s *shop) many(n int, record func(i int) wal.Record) {
	s.t.Helper()
	p := s.j.NewProducer()
	var last uint64
	for i := range n {
		r := record(i)
		if err := p.Append(&r); err != nil {
			s.t.Fatal(err)
		}
		last = r.Index
	}
	if _, err := p.Wait(s.t.Context(), last); err != nil {
		s.t.Fatal(err)
	}
}

func numbered(n int) wal.SessionID { return wal.SessionID{200, byte(n), byte(n >> 8)} }

// Tombs weigh what they cost, as long as they are needed.
func TestCarryingTombsIsBounded(t *testing.T) {
	s := newShop(t)
	s.many(400, func(i int) wal.Record {
		return wal.Record{Kind: wal.KindSessionOpened, Session: numbered(i), Space: "default", Lane: wal.LaneNormal}
	})
	first := s.fill(1, 0)
	s.many(400, func(i int) wal.Record { return wal.Record{Kind: wal.KindSessionExpired, Session: numbered(i)} })
	second := s.fill(1, 100)
	s.deliver(1, append(first[1:], second...)...)
	durable := s.j.Durable()
	s.round()
	s.left(1, 2, 3)
	if n := s.j.Durable() - durable; n != 0 {
		t.Fatalf("%d records carried", n)
	}
	s.deliver(1, first[0])
	s.round() // the first goes, and with it the need
	s.round()
	s.left(3)
	if n := s.j.Durable() - durable; n != 2 {
		t.Fatalf("%d records to give back two generations", n)
	}
}

// So do sessions whose own space stands there, while their news stands elsewhere.
func TestCarryingOwnSpacesIsBounded(t *testing.T) {
	s := newShop(t)
	s.many(300, func(i int) wal.Record {
		return wal.Record{Kind: wal.KindSessionOpened, Session: numbered(i), Space: "default", Lane: wal.LaneNormal}
	})
	first := s.fill(1, 0)
	s.many(300, func(i int) wal.Record {
		return wal.Record{Kind: wal.KindWrite, Session: numbered(i), Sequence: 1, Space: "elsewhere", Lane: wal.LaneNormal}
	})
	s.deliver(1, first...)
	durable := s.j.Durable()
	s.round()
	s.left(1, 2)
	if n := s.j.Durable() - durable; n != 0 {
		t.Fatalf("%d records carried", n)
	}
	s.many(250, func(i int) wal.Record { return wal.Record{Kind: wal.KindSessionExpired, Session: numbered(i)} })
	s.round()
	s.left(2)
}

func (s *shop) lettersAre(want []uint64) {
	s.t.Helper()
	if got := s.Letters(); !slices.Equal(got, want) {
		s.t.Fatalf("letters %v, want %v", got, want)
	}
}

// A session whose own space only a released generation told is told again as soon as a write of it goes elsewhere.
func TestSessionThatStraysAfterItsBeginningWasReleased(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	s.deliver(1, s.fill(1, 0)...)
	s.round()
	s.left(2)
	before := s.j.Durable()
	stray := observed(1, 90)
	stray.Space = "elsewhere"
	s.write(stray)
	s.round()
	x := s.x.sessions[id(1)]
	if n := s.j.Durable() - before; n != 2 || x.told != 2 || x.Space != "default" {
		t.Fatalf("%d records, session %+v", n, x)
	}
	s.round()
	if n := s.j.Durable() - before; n != 2 {
		t.Fatalf("told again: %d records", n)
	}
}
