package recovery

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// ruin is one thing that a disk, or a person, does to a directory.
type ruin struct {
	name    string
	journal bool // it takes something from the journal
	ledger  bool // or from the ledger
	do      func(rt *rapid.T, t *testing.T, dir string)
}

var ruins = []ruin{
	{"a bit of a segment", true, false, func(rt *rapid.T, t *testing.T, dir string) {
		inSegment(rt, t, dir, func(b []byte, at int) []byte { b[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit"); return b })
	}},
	{"zeros in a segment", true, false, func(rt *rapid.T, t *testing.T, dir string) {
		n := rapid.IntRange(1, 9000).Draw(rt, "bytes")
		inSegment(rt, t, dir, func(b []byte, at int) []byte { clear(b[at:min(at+n, len(b))]); return b })
	}},
	{"the end of a segment", true, false, func(rt *rapid.T, t *testing.T, dir string) {
		inSegment(rt, t, dir, func(b []byte, at int) []byte { return b[:at] })
	}},
	{"bytes between frames", true, false, func(rt *rapid.T, t *testing.T, dir string) {
		more := rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(rt, "more")
		inSegment(rt, t, dir, func(b []byte, at int) []byte { return slices.Insert(b, at, more...) })
	}},
	{"a generation", true, false, func(rt *rapid.T, t *testing.T, dir string) {
		if err := os.RemoveAll(wal.GenerationDir(JournalDir(dir), someGeneration(rt, t, dir))); err != nil {
			rt.Fatal(err)
		}
	}},
	{"the ledger", false, true, func(_ *rapid.T, t *testing.T, dir string) { loseLedger(t, dir) }},
	{"a byte of the ledger", false, true, func(rt *rapid.T, t *testing.T, dir string) {
		inLedger(rt, dir, func(b []byte, at int) []byte { b[at] ^= rapid.ByteRange(1, 255).Draw(rt, "xor"); return b })
	}},
	{"the end of the ledger", false, true, func(rt *rapid.T, t *testing.T, dir string) {
		inLedger(rt, dir, func(b []byte, at int) []byte { return b[:at] })
	}},
}

func someGeneration(rt *rapid.T, t *testing.T, dir string) uint64 {
	var used []uint64
	for _, n := range generationsOn(t, dir) {
		if fi, err := os.Stat(wal.SegmentPath(JournalDir(dir), n)); err == nil && fi.Size() > 0 {
			used = append(used, n)
		}
	}
	if len(used) == 0 {
		rt.SkipNow()
	}
	return rapid.SampledFrom(used).Draw(rt, "generation")
}

func inSegment(rt *rapid.T, t *testing.T, dir string, change func(b []byte, at int) []byte) {
	overwrite(t, dir, someGeneration(rt, t, dir), func(b []byte) []byte {
		at := rapid.IntRange(0, len(b)-1).Draw(rt, "at")
		if rapid.Bool().Draw(rt, "at the beginning") {
			at %= 300
		}
		return change(b, at)
	})
}

func inLedger(rt *rapid.T, dir string, change func(b []byte, at int) []byte) {
	path := filepath.Join(dir, ledger.FileName)
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return
	}
	if err := os.WriteFile(path, change(b, rapid.IntRange(0, len(b)-1).Draw(rt, "at")), 0o600); err != nil {
		rt.Fatal(err)
	}
}

// past is a directory and all that was ever written to it.
type past struct {
	stale    bool // the ledger's file is older than the journal
	dir      string
	writes   map[uint64]wal.Record
	pending  []uint64
	last     uint64 // of session 1
	sessions int
	balance  ledger.Balance
}

func newPast(t *testing.T) *past {
	h, _ := lived(t)
	p := keepPast(h)
	h.flush()
	p.dir = h.crash()
	return p
}

func keepPast(h *opened) *past {
	h.t.Helper()
	p := &past{writes: map[uint64]wal.Record{}, last: h.lastOf(1), sessions: len(h.Ledger.Sessions()), balance: h.Ledger.Balance(), pending: mustPending(h)}
	if err := h.Journal.Read(p.pending, func(r *wal.Record) error { p.writes[r.Index] = *r; return nil }); err != nil {
		h.t.Fatal(err)
	}
	return p
}

// stalePast has been restarted, so that numbers of generations are missing, has dead letters, closed and expired sessions, and
// a ledger that does not know the end of it.
func stalePast(t *testing.T) *past {
	h, stuck := lived(t)
	h.bury(stuck, 1, 14, "no")
	h = openDir(t, h.crash())
	h.begin(2)
	h.begin(3)
	for i := range uint64(3) {
		h.write(2, i+1, 2000)
		h.settle(3, wal.Delivered, h.write(3, i+1, 20))
	}
	h.round()
	h.journal(wal.Record{Kind: wal.KindSessionExpired, Session: id(3)})
	h = openDir(t, h.crash())
	h.journal(wal.Record{Kind: wal.KindSessionClosed, Session: id(2), Space: "default", Lane: wal.LaneNormal, Sequence: 3})
	h.settle(1, wal.Delivered, h.generation(1, h.lastOf(1)+1)[1:]...)
	h.bury(mustPending(h)[1], 1, 40, "never")
	p := keepPast(h)
	p.stale, p.dir = true, h.crash()
	return p
}

// check compares a start with the past. Whatever was ruined, what is delivered is what was written, and what is not is
// counted. Where the ledger is whole, nothing goes without a count; where the journal is, nothing is lost.
func (p *past) check(rt *rapid.T, h *opened, journal, ledgers int) {
	b := h.Ledger.Balance()
	got := h.indexes()
	if b.Pending != uint64(len(got)) || b.Accepted != b.Delivered+b.Dead+b.Dropped+b.Damaged+b.Pending {
		rt.Fatalf("balance %+v with %d pending", b, len(got))
	}
	missing := 0
	for _, i := range p.pending {
		if !slices.Contains(got, i) {
			missing++
		}
	}
	last := h.session(1).Last
	switch {
	case journal == 0 && (missing > 0 || last != p.last || b.Damaged > 0 || b.Accepted != p.balance.Accepted || len(h.Sessions) != p.sessions):
		rt.Fatalf("%d missing, session at %d of %d, balance %+v", missing, last, p.last, b)
	case ledgers == 0 && (b.Damaged < uint64(missing) || b.Accepted < p.balance.Accepted || last != p.last):
		rt.Fatalf("%d missing, session at %d of %d, balance %+v of %+v", missing, last, p.last, b, p.balance)
	case ledgers == 0 && journal == 1 && (b.Damaged != uint64(missing) || b.Accepted != p.balance.Accepted):
		rt.Fatalf("%d missing, balance %+v of %+v", missing, b, p.balance)
	}
	for _, i := range got {
		err := h.Journal.Read([]uint64{i}, func(r *wal.Record) error {
			if w, ok := p.writes[i]; ok && (r.Sequence != w.Sequence || r.Session != w.Session || !bytes.Equal(r.Payload, w.Payload)) {
				rt.Fatalf("index %d is %+v, was %+v", i, r, w)
			}
			return nil
		})
		if err != nil {
			rt.Fatalf("a pending write cannot be read: %v", err)
		}
	}
}

func TestRandomDamage(t *testing.T) {
	pasts := []*past{newPast(t), stalePast(t)}
	rapid.Check(t, func(rt *rapid.T) {
		p := rapid.SampledFrom(pasts).Draw(rt, "past")
		dir := copyDir(t, p.dir)
		defer os.RemoveAll(dir)
		var journal, ledgers int
		if p.stale {
			ledgers++
		}
		for range rapid.IntRange(1, 3).Draw(rt, "ruins") {
			r := rapid.SampledFrom(ruins).Draw(rt, "ruin")
			r.do(rt, t, dir)
			if r.journal {
				journal++
			}
			if r.ledger {
				ledgers++
			}
		}
		strict := small(dir)
		strict.Strict = true
		before := hash(t, dir)
		s, refused := Open(strict)
		if refused == nil {
			if len(s.Report.Damages) > 0 {
				rt.Fatalf("strict, and %v", s.Report.Damages[0])
			}
			if err := s.Close(); err != nil {
				rt.Fatal(err)
			}
		} else if !errors.Is(refused, ErrDamaged) || hash(t, dir) != before {
			rt.Fatalf("strict: %v", refused)
		}
		h := openDir(t, dir)
		defer func() { h.close() }()
		if (refused != nil) != (len(h.Report.Damages) > 0) {
			rt.Fatalf("strict says %v, and without it %v", refused, h.Report.Damages)
		}
		p.check(rt, h, journal, ledgers)
		want, pending, last := h.Ledger.Balance(), h.indexes(), h.session(1).Last
		h = h.reopen()
		if h.Ledger.Balance() != want || !slices.Equal(h.indexes(), pending) || h.Report.Lost != 0 || h.session(1).Last != last {
			rt.Fatalf("second start: balance %+v, want %+v; %d lost; session at %d, want %d; %v",
				h.Ledger.Balance(), want, h.Report.Lost, h.session(1).Last, last, h.Report.Damages)
		}
		h.write(1, last+1, 10)
		want.Accepted++
		want.Pending++
		h = h.reopen()
		if h.Ledger.Balance() != want || h.session(1).Last != last+1 {
			rt.Fatalf("third start: balance %+v, want %+v; session at %d, want %d", h.Ledger.Balance(), want, h.session(1).Last, last+1)
		}
	})
}
