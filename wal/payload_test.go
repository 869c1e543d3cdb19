package wal

import (
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func anyTally(t *rapid.T) Tally {
	n := rapid.Uint64Range(0, 1<<40)
	return Tally{
		Accepted: n.Draw(t, "accepted"), Delivered: n.Draw(t, "delivered"), Dead: n.Draw(t, "dead"),
		Dropped: n.Draw(t, "dropped"), Damaged: n.Draw(t, "damaged"),
	}
}

// roundTrip checks that a payload is read back as it was written, and that no shorter or longer one is.
func roundTrip[T any](t *rapid.T, want T, encoded []byte, decode func([]byte) (T, error)) {
	t.Helper()
	got, err := decode(encoded)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	cut := rapid.IntRange(0, len(encoded)-1).Draw(t, "cut")
	if _, err := decode(encoded[:cut]); !errors.Is(err, ErrDamaged) {
		t.Fatalf("cut to %d of %d bytes: %v", cut, len(encoded), err)
	}
	if _, err := decode(append(encoded[:len(encoded):len(encoded)], 0)); !errors.Is(err, ErrDamaged) {
		t.Fatalf("one byte more: %v", err)
	}
}

func TestHeadRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &Head{
			Version: rapid.Uint16().Draw(t, "version"), Generation: rapid.Uint64().Draw(t, "generation"),
			Accepted: rapid.Uint64().Draw(t, "accepted"), Released: anyTally(t),
		}
		copy(h.Journal[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "journal"))
		for range rapid.IntRange(0, 5).Draw(t, "spans") {
			h.Live = append(h.Live, Span{First: rapid.Uint64().Draw(t, "first"), Last: rapid.Uint64().Draw(t, "last")})
		}
		roundTrip(t, h, h.append(nil), DecodeHead)
	})
}

func TestHeadThatNamesMoreSpansThanItHolds(t *testing.T) {
	b := (&Head{Live: []Span{{First: 1, Last: 2}}}).append(nil)
	b[len(b)-17] = 0xff // the count's highest byte: four thousand million spans, of which nothing may be allocated
	if _, err := DecodeHead(b); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

func TestSmallPayloadsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &Released{Generation: rapid.Uint64().Draw(t, "generation"), Tally: anyTally(t)}
		roundTrip(t, r, r.append(nil), DecodeReleased)
		c := CarriedSession{ClosedAt: rapid.Int64().Draw(t, "closed at")}
		roundTrip(t, c, c.Append(nil), DecodeCarriedSession)
		s := Settled{Index: rapid.Uint64().Draw(t, "index"), Fate: Fate(rapid.Byte().Draw(t, "fate")), Again: rapid.Bool().Draw(t, "again")}
		roundTrip(t, s, s.Append(nil), DecodeSettled)
	})
}

func TestCarriedLetterRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := CarriedLetter{
			Index: rapid.Uint64().Draw(t, "index"), Time: rapid.Int64().Draw(t, "time"), DiedAt: rapid.Int64().Draw(t, "died at"),
			Attempts: rapid.Uint32Max(1<<31-1).Draw(t, "attempts"), Reason: rapid.String().Draw(t, "reason"),
			Payload: rapid.SliceOf(rapid.Byte()).Draw(t, "payload"), Superseded: rapid.Bool().Draw(t, "superseded"),
		}
		b := want.Append(nil)
		got, err := DecodeCarriedLetter(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v\ngot  %+v\nwant %+v", err, got, want)
		}
		short := len(b) - len(want.Payload) - 1 // the payload is what is left, so only what stands before it can be short
		if _, err := DecodeCarriedLetter(b[:short]); !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}

func TestTallyAccounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyTally(t), anyTally(t)
		sum := a.Plus(b)
		if sum != b.Plus(a) || sum.Accepted != a.Accepted+b.Accepted || sum.Damaged != a.Damaged+b.Damaged {
			t.Fatal(sum)
		}
		for _, f := range []Fate{Delivered, Dead, Dropped, Damaged} {
			more := Tally{Accepted: 5}.Add(f, 3)
			if more.Pending() != 2 {
				t.Fatalf("%v: %+v", f, more)
			}
		}
	})
	if got := (Tally{Accepted: 1, Delivered: 2}).Pending(); got != 0 {
		t.Errorf("more settled than accepted leaves %d pending, want 0", got)
	}
	if got := (Tally{Accepted: 3, Dead: 2}).Move(Dropped); got != (Tally{Accepted: 3, Dead: 1, Dropped: 1}) {
		t.Errorf("%+v", got)
	}
}
