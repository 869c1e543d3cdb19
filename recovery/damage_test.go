package recovery

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

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
	flip(t, dir, 2, true, all[2][2], all[2][3], all[2][4]) // sequences n, n, n+1 of sessions 1, 2, 1
	before := len(all[1])/2 + len(all[1])%2
	h := hurtTwice(t, dir, balance(total(all), 0, 0, 3), 3)
	type named struct {
		session       wal.SessionID
		sequence      uint64
		first, last   uint64
		sequencesText string
	}
	var got []string
	for _, d := range h.Report.Damages {
		if d.First != all[2][2] || d.Last != all[2][4] {
			t.Errorf("damage of %d to %d, want %d to %d", d.First, d.Last, all[2][2], all[2][4])
		}
		got = append(got, d.Session.String()[:2]+" "+d.Reason[strings.Index(d.Reason, "; sequences"):])
	}
	_ = before
	if len(got) != 2 || h.Report.Places() != 1 {
		t.Fatalf("named %q in %d places", got, h.Report.Places())
	}
	slices.Sort(got)
	first := sequenceOf(t, dir, all[2][1]) + 1 // session 2 wrote that
	if h.session(1).Last != total(all)/2 {
		t.Fatalf("session %+v", h.session(1))
	}
	t.Log(got, first)
}

func sequenceOf(t *testing.T, dir string, index uint64) (sequence uint64) {
	t.Helper()
	f, err := wal.ReadFormat(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range generationsOn(t, dir) {
		_, err := wal.ScanGeneration(JournalDir(dir), f.Journal, n, func(r *wal.Record) error {
			if r.Index == index {
				sequence = r.Sequence
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return sequence
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

func TestMissingGeneration(t *testing.T) {
	for _, knows := range []bool{true, false} {
		dir, all := history(t)
		if err := os.RemoveAll(wal.GenerationDir(JournalDir(dir), 2)); err != nil {
			t.Fatal(err)
		}
		if !knows {
			loseLedger(t, dir)
		}
		gone := uint64(len(all[2]))
		h := hurtTwice(t, dir, balance(total(all), 0, 0, gone), gone)
		d := h.Report.Damages[0]
		if len(h.Report.Damages) != h.Report.Places()+1 || d.File != wal.SegmentPath(JournalDir(dir), 2) || d.First != all[1][len(all[1])-1]+1 || d.Last != all[3][0]-2 {
			t.Fatalf("damages %v", h.Report.Damages)
		}
		h.write(1, total(all)/2+1, 10) // the new head forgets the generation, and the count stays
		h = h.reopen()
		if len(h.Report.Damages) != 0 {
			t.Fatalf("damages after a write: %v", h.Report.Damages)
		}
		h.balanced(balance(total(all)+1, 0, 0, gone))
	}
}

// What the ledger knows to have been delivered is not lost with its generation, and a dead letter neither.
func TestMissingGenerationThatTheLedgerKnows(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	first := h.generation(1, 1)
	second := h.generation(1, uint64(len(first))+1)
	h.settle(1, wal.Delivered, first[0], first[2])
	h.bury(first[1], 1, 2, "no")
	h.flush()
	dir := h.crash()
	if err := os.RemoveAll(wal.GenerationDir(JournalDir(dir), 1)); err != nil {
		t.Fatal(err)
	}
	n := uint64(len(first) + len(second))
	lost := uint64(len(first)) - 4 // the last of these stands in the second generation
	r := openDir(t, dir)
	r.balanced(balance(n, 2, 1, lost))
	if r.Report.Lost != lost {
		t.Fatalf("%d lost, want %d", r.Report.Lost, lost)
	}
	if l, err := r.Ledger.Letter(first[1]); err != nil || l.Reason != "no" {
		t.Fatalf("letter %+v, %v", l, err)
	}
	r.round() // tells the journal of the letter
	r.close()
	loseLedger(t, dir)
	r = openDir(t, dir)
	if l, err := r.Ledger.Letter(first[1]); err != nil || l.Reason != "no" || len(l.Payload) != 300 {
		t.Fatalf("letter after the ledger was lost: %+v, %v", l, err)
	}
	r.balanced(balance(n, 2, 1, lost))
}

func TestMissingEndOfAnOlderGeneration(t *testing.T) {
	for _, records := range []uint64{0, 1, 3} { // and for 0 a few bytes of the last one only
		dir, all := history(t)
		s := scanned(t, dir, 2)
		n := len(s.Offsets)
		overwrite(t, dir, 2, func(b []byte) []byte {
			if records == 0 {
				return b[:len(b)-5]
			}
			return b[:s.Offsets[n-int(records)]-2]
		})
		lost := max(records, 1)
		h := hurtTwice(t, dir, balance(total(all), 0, 0, lost), lost)
		d := h.Report.Damages[0]
		if h.Report.Places() != 1 || d.First != s.LastIndex()-lost+1 || d.Last != s.LastIndex() {
			t.Fatalf("damages %v, want %d to %d", h.Report.Damages, s.LastIndex()-lost+1, s.LastIndex())
		}
		for _, d := range h.Report.Damages {
			if d.Session.IsZero() || d.Sequence == 0 {
				t.Fatalf("damage %v names no session", d)
			}
		}
	}
}

func TestLostEndThatOnlyTheLedgerKnows(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	var all []uint64
	for i := range uint64(6) {
		all = append(all, h.write(1, i+1, 10))
	}
	h.begin(2)
	h.settle(1, wal.Delivered, all[0], all[4])
	h.flush()
	dir := h.crash()
	s := scanned(t, dir, 1)
	overwrite(t, dir, 1, func(b []byte) []byte { return b[:s.Offsets[all[3]-s.Base]-1] })
	r := openDir(t, dir)
	r.balanced(balance(6, 2, 0, 2)) // the fourth and the last are lost; the fifth was delivered
	d := r.Report.Damages[0]
	if len(r.Report.Damages) != 1 || r.Report.Lost != 2 || d.First != all[3] || d.Last != all[5]+1 || d.Session != id(1) || d.Sequence != 4 {
		t.Fatalf("report %+v: %v", r.Report, d)
	}
	if r.session(1).Last != 6 || r.session(2).ID != id(2) {
		t.Fatalf("sessions %+v", r.Sessions)
	}
	r = r.reopen()
	r.balanced(balance(6, 2, 0, 2))
	if r.Report.Lost != 0 {
		t.Fatalf("%d lost again", r.Report.Lost)
	}
	if i := r.write(1, 7, 10); i <= all[5]+1 {
		t.Fatalf("index %d was used before", i)
	}
	r.round() // the sessions are told to the journal
	r.close()
	loseLedger(t, dir)
	r = openDir(t, dir)
	if r.session(1).Last != 7 || r.session(2).ID != id(2) || r.session(2).Space != "default" {
		t.Fatalf("sessions without the ledger %+v", r.Sessions)
	}
	if b := r.Ledger.Balance(); b.Accepted != 7 || b.Damaged < 2 {
		t.Fatalf("balance without the ledger %+v", b)
	}
}

func TestWholeJournalLost(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	all := h.generation(1, 1)
	h.settle(1, wal.Delivered, all...)
	h.round()
	more := h.generation(1, uint64(len(all))+1)
	h.settle(1, wal.Delivered, more[1])
	h.close()
	if err := os.RemoveAll(JournalDir(h.dir)); err != nil {
		t.Fatal(err)
	}
	n, delivered := uint64(len(all)+len(more)), uint64(len(all))+1
	for start := range 2 {
		r := openDir(t, h.dir)
		r.balanced(balance(n, delivered, 0, n-delivered))
		if r.session(1).Last != n || len(r.Report.Damages) != 1 && start == 0 {
			t.Fatalf("start %d: session %+v, report %+v", start, r.session(1), r.Report)
		}
		r.write(1, n+1+uint64(start), 10)
		n++
		r.settle(1, wal.Delivered, mustPending(r)...)
		delivered++
		r.close()
	}
}

func mustPending(h *opened) (out []uint64) {
	h.Ledger.Pending(func(first, last uint64) bool {
		for ; first <= last; first++ {
			out = append(out, first)
		}
		return true
	})
	return out
}
