package ledger

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// cuts fails where a value that lacks some of its end is not refused, or makes decode panic. Those from whole on are taken.
func cuts(t *rapid.T, value []byte, whole int, decode func([]byte) error) {
	for n := range len(value) {
		if err := decode(value[:n:n]); n < whole && !errors.Is(err, ErrDamaged) {
			t.Fatalf("%d of %d bytes: %v", n, len(value), err)
		}
	}
}

func TestSessionValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Session{Space: rapid.StringN(0, 64, 255).Draw(t, "space"), Lane: wal.Lane(rapid.Byte().Draw(t, "lane")), Last: rapid.Uint64().Draw(t, "last")}
		copy(s.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		if rapid.Bool().Draw(t, "closed") {
			s.Closed, s.ClosedAt = true, time.Unix(0, rapid.Int64Min(1).Draw(t, "at"))
		}
		b := s.encode()
		got, err := decodeSession(s.ID[:], b)
		if diff := cmp.Diff(s, got); err != nil || diff != "" {
			t.Fatalf("%v: %s", err, diff)
		}
		cuts(t, b, 17, func(b []byte) error { _, err := decodeSession(s.ID[:], b); return err })
		if _, err := decodeSession(s.ID[:15], b); !errors.Is(err, ErrDamaged) {
			t.Fatalf("short id: %v", err)
		}
	})
}

func TestLetterValue(t *testing.T) {
	text := rapid.SliceOfN(rapid.Byte(), 0, 100)
	rapid.Check(t, func(t *rapid.T) {
		l := Letter{
			Record: wal.Record{
				Kind: wal.KindWrite, Form: wal.Form(rapid.Byte().Draw(t, "form")), Lane: wal.LaneLow, Sequence: rapid.Uint64().Draw(t, "sequence"),
				Space: string(text.Draw(t, "space")), ID: text.Draw(t, "id"), Payload: text.Draw(t, "payload"), Index: rapid.Uint64().Draw(t, "index"), Time: rapid.Int64().Draw(t, "time"),
			},
			Reason: string(text.Draw(t, "reason")), Attempts: rapid.IntRange(0, 1<<20).Draw(t, "attempts"), DiedAt: time.Unix(0, rapid.Int64().Draw(t, "died")),
		}
		copy(l.Session[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "session"))
		b := l.encode()
		got, err := decodeLetter(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, *got); diff != "" {
			t.Fatal(diff)
		}
		cuts(t, b, len(b)-len(l.Payload), func(b []byte) error { _, err := decodeLetter(b); return err })
		r := l.record()
		if carried, err := letterOf(&r); err != nil || !bytes.Equal(carried.Payload, l.Payload) || carried.Reason != l.Reason || carried.Index != l.Index || r.Index != 0 {
			t.Fatalf("carried %+v, %v", carried, err)
		}
	})
}

func TestGenerationValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &generation{base: rapid.Uint64Range(1, 1<<60).Draw(t, "base"), odd: map[uint64]wal.Fate{}}
		for _, i := range rapid.SliceOfDistinct(rapid.Uint64Range(0, 500), rapid.ID).Draw(t, "settled") {
			g.fate(g.base+i, wal.Fate(rapid.IntRange(1, 4).Draw(t, "fate")))
		}
		b := g.encode()
		got, err := decodeGeneration(b)
		if err != nil || got.base != g.base || !maps.Equal(got.odd, g.odd) || !slices.Equal(got.settled, g.settled) {
			t.Fatalf("%+v, %v, want %+v", got, err, g)
		}
		cuts(t, b, 12+5*len(g.odd), func(b []byte) error { _, err := decodeGeneration(b); return err })
	})
}

func TestTotalsAndNumbers(t *testing.T) {
	a, b := wal.Tally{Accepted: 1, Delivered: 2, Dead: 3, Dropped: 4, Damaged: 5}, wal.Tally{Accepted: 6, Damaged: 7}
	var n [10]uint64
	if err := decodeNumbers(encodeTotals(a, b), n[:]); err != nil {
		t.Fatal(err)
	}
	if x, y := decodeTotals(n); x != a || y != b {
		t.Fatalf("%+v %+v", x, y)
	}
	if err := decodeNumbers(make([]byte, 79), n[:]); !errors.Is(err, ErrDamaged) {
		t.Fatalf("79 bytes: %v", err)
	}
	if _, err := parseKey([]byte{1}); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a number of one byte: %v", err)
	}
}

// A value under another key, or changed, is found out.
func TestSealedValues(t *testing.T) {
	sealed := sealValue([]byte("key"), []byte("value"))
	if v, err := openValue([]byte("key"), sealed); err != nil || string(v) != "value" {
		t.Fatalf("%q, %v", v, err)
	}
	for i := range sealed {
		b := bytes.Clone(sealed)
		b[i] ^= 4
		if _, err := openValue([]byte("key"), b); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	for _, b := range [][]byte{nil, sealed[:3], sealed[:5]} {
		if _, err := openValue([]byte("key"), b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	if _, err := openValue([]byte("kez"), sealed); !errors.Is(err, ErrDamaged) {
		t.Errorf("another key: %v", err)
	}
}
