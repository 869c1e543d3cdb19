package recovery

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// history is a directory with three finished generations of two sessions that take turns, and a fourth one; all of it
// flushed. byGeneration are the indexes of the writes of each.
func history(t *testing.T) (dir string, byGeneration map[uint64][]uint64) {
	t.Helper()
	h := openDir(t, memoryDir(t))
	h.begin(1)
	h.begin(2)
	byGeneration = map[uint64][]uint64{}
	for sequence := uint64(1); ; sequence++ {
		for n := byte(1); n <= 2; n++ {
			i := h.write(n, sequence, 4000)
			gens := h.Journal.Generations()
			number := gens[len(gens)-1].Number
			byGeneration[number] = append(byGeneration[number], i)
		}
		if len(byGeneration) == 4 {
			break
		}
	}
	h.flush()
	return h.crash(), byGeneration
}

func total(byGeneration map[uint64][]uint64) (n uint64) {
	for _, g := range byGeneration {
		n += uint64(len(g))
	}
	return n
}

// hurtTwice opens a directory three times, the last time without the ledger: what is lost is lost once, and counted the same.
func hurtTwice(t *testing.T, dir string, want ledger.Balance, lost uint64) *opened {
	t.Helper()
	h := openDir(t, dir)
	h.balanced(want)
	if h.Report.Lost != lost || len(h.Report.Damages) == 0 {
		t.Fatalf("%d lost, want %d; damages %v", h.Report.Lost, lost, h.Report.Damages)
	}
	first := h.Report
	h = h.reopen()
	h.balanced(want)
	if h.Report.Lost != 0 {
		t.Fatalf("%d lost again at the second start", h.Report.Lost)
	}
	h.close()
	again := copyDir(t, dir)
	loseLedger(t, again)
	h = openDir(t, again)
	want.Tally = wal.Tally{Accepted: want.Accepted, Damaged: want.Damaged} // what was not released is delivered again
	want.Pending = want.Accepted - want.Damaged
	h.balanced(want)
	h.close()
	h = openDir(t, dir)
	h.Report = first
	return h
}

func TestDamagedPayloadInAnOlderGeneration(t *testing.T) {
	dir, all := history(t)
	i := all[2][3]
	offset := int64(scanned(t, dir, 2).Offsets[i-scanned(t, dir, 2).Base])
	flip(t, dir, 2, false, i)
	h := hurtTwice(t, dir, balance(total(all), 0, 0, 1), 1)
	d := h.Report.Damages[0]
	if len(h.Report.Damages) != 1 || d.File != wal.SegmentPath(JournalDir(dir), 2) || d.Offset > offset || d.Offset < offset-3 || d.First != i || d.Last != i {
		t.Fatalf("damages %v", h.Report.Damages)
	}
	if d.Session.IsZero() || d.Sequence == 0 || d.Space != "default" || d.Kind != wal.KindWrite {
		t.Fatalf("damage %+v", d)
	}
	if h.session(1).Last != total(all)/2 || h.session(2).Last != total(all)/2 {
		t.Fatalf("sessions %+v", h.Sessions)
	}
	if !strings.Contains(h.Report.String(), "DAMAGE in 1 places, 1 observations lost") {
		t.Fatalf("report %q", h.Report.String())
	}
	if kept := quarantine(t, dir); len(kept) != 1 || !strings.Contains(kept[0], "damaged-g00000000000000000002-") {
		t.Fatalf("quarantine %v", kept)
	}
	if err := h.Journal.Read([]uint64{i}, func(*wal.Record) error { return nil }); !errors.Is(err, wal.ErrDamaged) {
		t.Fatalf("read the damaged record: %v", err)
	}
}

// A damaged header does not tell whose it was; the sequences around it do.
func TestDamagedHeadersAreNamedByTheSequencesAroundThem(t *testing.T) {
	dir, all := history(t)
	hurt := all[2][2:5]
	missing := map[wal.SessionID][]uint64{}
	for _, i := range hurt {
		r := recordAt(t, dir, i)
		missing[r.Session] = append(missing[r.Session], r.Sequence)
	}
	flip(t, dir, 2, true, hurt...)
	h := hurtTwice(t, dir, balance(total(all), 0, 0, 3), 3)
	if len(h.Report.Damages) != 2 || h.Report.Places() != 1 || len(missing) != 2 {
		t.Fatalf("damages %v of %v", h.Report.Damages, missing)
	}
	for _, d := range h.Report.Damages {
		want := missing[d.Session]
		text := fmt.Sprintf("sequences %d to %d of this session are missing", want[0], want[len(want)-1])
		if d.First != hurt[0] || d.Last != hurt[2] || d.Sequence != want[0] || d.Space != "default" || !strings.Contains(d.Reason, text) {
			t.Errorf("damage %v, want %q", d, text)
		}
	}
}

// A session whose missing sequences stood in a released generation is not blamed for damage elsewhere.
func TestReleasedSequencesAreNotNamed(t *testing.T) {
	for _, records := range []int{1, 3} {
		h := openDir(t, memoryDir(t))
		h.begin(1)
		h.begin(2)
		h.write(2, 1, 10)
		last := uint64(len(h.generation(1, 1)))
		var gone []uint64
		for i := range uint64(3) {
			gone = append(gone, h.write(2, i+2, 10))
		}
		more := h.generation(1, last+1)
		h.settle(2, wal.Delivered, gone...)
		h.settle(1, wal.Delivered, append(more[:len(more)-1], gone[0]-1)...)
		last += uint64(len(more))
		var hurt []uint64
		for i := range uint64(records) {
			hurt = append(hurt, h.write(1, last+1+i, 10))
		}
		h.round() // carries session 2 to a place behind them
		if n := generationsOn(t, h.dir); n[0] != 1 || n[1] != 3 {
			t.Fatalf("generations %v", n)
		}
		h.write(2, 5, 10)
		h.generation(1, last+1+uint64(records))
		h.flush()
		dir := h.crash()
		flip(t, dir, 3, true, hurt...)
		r := openDir(t, dir)
		if len(r.Report.Damages) != 1 || r.Report.Damages[0].Session != id(1) || r.Report.Damages[0].Sequence != last+1 {
			t.Fatalf("damages %v", r.Report.Damages)
		}
	}
}

// recordAt finds the record of an index.
func recordAt(t *testing.T, dir string, index uint64) (out wal.Record) {
	t.Helper()
	f, err := wal.ReadFormat(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range generationsOn(t, dir) {
		_, err := wal.ScanGeneration(JournalDir(dir), f.Journal, n, func(r *wal.Record) error {
			if r.Index == index {
				out = *r
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestStrictRefusesAndTouchesNothing(t *testing.T) {
	dir, all := history(t)
	flip(t, dir, 2, false, all[2][0])
	overwrite(t, dir, 4, func(b []byte) []byte { return append(b, 1, 2, 3) }) // and a torn tail
	before := hash(t, dir)
	o := small(dir)
	o.Strict = true
	_, err := Open(o)
	var d *wal.DamageError
	if !errors.Is(err, ErrDamaged) || !errors.As(err, &d) || d.First != all[2][0] || !strings.Contains(err.Error(), "without strict") {
		t.Fatalf("strict: %v", err)
	}
	if hash(t, dir) != before {
		t.Fatal("the refused directory was changed")
	}
	o.Strict = false
	openWith(t, o).close()
	o.Strict = true
	undamaged, _ := history(t)
	o.DataDir = undamaged
	openWith(t, o)
}

// A damaged record whose header is whole proves what its session has come to, though the ledger is lost; and what was no
// write is not counted as one.
func TestDamagedRecordsProveTheirSessions(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	h.begin(2)
	h.write(1, 1, 10)
	last := h.write(2, 1, 10)
	at := time.Unix(7, 0)
	closed := h.journal(wal.Record{
		Kind: wal.KindSessionClosed, Session: id(1), Space: "default", Lane: wal.LaneNormal, Sequence: 5,
		Payload: wal.CarriedSession{ClosedAt: at.UnixNano()}.Append(nil),
	})
	only := h.write(3, 9, 10) // of a session whose beginning was released
	h.write(0, 0, 10)
	dir := h.crash()
	loseLedger(t, dir)
	flip(t, dir, 1, false, last, closed.Index, only)
	r := openDir(t, dir)
	if r.Report.Lost != 2 || len(r.Report.Damages) != 3 {
		t.Fatalf("%d lost: %v", r.Report.Lost, r.Report.Damages)
	}
	r.balanced(balance(4, 0, 0, 2))
	if s := r.session(1); s.Last != 5 || !s.Closed || s.ClosedAt.IsZero() {
		t.Fatalf("session %+v", s)
	}
	if s := r.session(2); s.Last != 1 || s.Space != "default" {
		t.Fatalf("session %+v", s)
	}
	if s := r.session(3); s.Last != 9 || s.Space != "default" || s.Lane != wal.LaneNormal {
		t.Fatalf("session %+v", s)
	}
}

// The heads tell how many writes each generation misses: a damaged record that was none leaves the count to one that was.
func TestDamageIsCountedWhereItIs(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	first := h.generation(1, 1)
	opened := h.journal(wal.Record{Kind: wal.KindSessionOpened, Session: id(2), Space: "default", Lane: wal.LaneNormal})
	second := h.generation(1, uint64(len(first))+1)
	third := h.generation(1, uint64(len(first)+len(second))+1)
	h.settle(1, wal.Delivered, third[3])
	h.flush()
	dir := h.crash()
	flip(t, dir, 2, true, opened.Index, second[1])
	flip(t, dir, 3, false, third[3])
	r := openDir(t, dir)
	r.balanced(balance(uint64(len(first)+len(second)+len(third)), 1, 0, 1))
	if r.Report.Places() != 3 || r.Report.Lost != 1 {
		t.Fatalf("report %+v", r.Report)
	}
}
