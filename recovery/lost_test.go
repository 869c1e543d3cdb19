package recovery

import (
	"os"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

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
		if r.session(1).Last != n || len(r.Report.Damages) == 0 && start == 0 {
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

// A lost generation that no good head names is known from the ledger.
func TestLostGenerationBehindTheNewestGoodHead(t *testing.T) {
	dir, all := history(t)
	if err := os.RemoveAll(wal.GenerationDir(JournalDir(dir), 3)); err != nil {
		t.Fatal(err)
	}
	hurtHead(t, dir, 4)
	h := openDir(t, dir)
	h.balanced(balance(total(all), 0, 0, uint64(len(all[3]))))
	var named bool
	for _, d := range h.Report.Damages {
		named = named || d.File == wal.SegmentPath(JournalDir(dir), 3)
	}
	if !named {
		t.Fatalf("damages %v", h.Report.Damages)
	}
}

// With no good head left, and nothing before the lost generation, the ledger's totals tell how much it held.
func TestLostOldestGenerationWithoutAHead(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	first := h.generation(1, 1)
	h.generation(1, uint64(len(first))+1)
	h.settle(1, wal.Delivered, first[0])
	h.flush()
	want := h.Ledger.Balance()
	dir := h.crash()
	if err := os.RemoveAll(wal.GenerationDir(JournalDir(dir), 1)); err != nil {
		t.Fatal(err)
	}
	hurtHead(t, dir, 2, 3)
	gone := uint64(len(first) - 2) // one was delivered, and the last stands in the second generation
	want.Damaged += gone
	want.Pending -= gone
	r := openDir(t, dir)
	r.balanced(want)
	r = r.reopen()
	r.balanced(want)
	r.write(1, r.session(1).Last+1, 10)
	want.Accepted++
	want.Pending++
	r = r.reopen()
	r.balanced(want)
}

// The number of a generation that is gone without a trace is not used again: its frames would carry the same seal.
func TestLostNewestGeneration(t *testing.T) {
	dir, all := history(t)
	for _, n := range generationsOn(t, dir) {
		if n >= 4 {
			if err := os.RemoveAll(wal.GenerationDir(JournalDir(dir), n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone := uint64(len(all[4]))
	h := openDir(t, dir)
	for lost := range 2 {
		h.balanced(balance(total(all), 0, 0, gone))
		if h.Report.Lost != gone*uint64(1-lost) || len(h.Report.Damages) == 0 {
			t.Fatalf("%d lost: %v", h.Report.Lost, h.Report.Damages)
		}
		h = h.reopen()
	}
	h.write(1, h.session(1).Last+1, 10)
	if gens := h.Journal.Generations(); gens[len(gens)-1].Number <= 4 {
		t.Fatalf("generations %+v", gens)
	}
	if h.session(1).Last+h.session(2).Last != total(all) {
		t.Fatalf("sessions %+v", h.Sessions)
	}
}

// What was found by the random test, so that it stays found.
func TestSeveralFaultsAtOnce(t *testing.T) {
	p := newPast(t)
	remove := func(dir string, n uint64) error { return os.RemoveAll(wal.GenerationDir(JournalDir(dir), n)) }
	cut := func(t *testing.T, dir string, n uint64, at int) {
		overwrite(t, dir, n, func(b []byte) []byte { return b[:at] })
	}
	for name, c := range map[string]struct {
		ruin func(t *testing.T, dir string) error
		lost uint64
	}{
		"the newest head, and the generation that told of a release": {func(t *testing.T, dir string) error {
			hurtHead(t, dir, 5)
			return remove(dir, 4)
		}, 10},
		"the record that told of a release, and all behind": {func(t *testing.T, dir string) error {
			cut(t, dir, 4, 172)
			cut(t, dir, 5, 0)
			return nil
		}, 11},
		"all but a headless one": {func(t *testing.T, dir string) error {
			cut(t, dir, 4, 0)
			hurtHead(t, dir, 2)
			return remove(dir, 5)
		}, 11},
		"the end of one, which was delivered, and all heads": {func(t *testing.T, dir string) error {
			hurtHead(t, dir, 2, 4, 5)
			s := scanned(t, dir, 2)
			cut(t, dir, 2, int(s.Offsets[20-s.Base])-2)
			return nil
		}, 0},
		"the end of one with a gap before it": {func(t *testing.T, dir string) error {
			cut(t, dir, 4, 172)
			return nil
		}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, p.dir)
			if err := c.ruin(t, dir); err != nil {
				t.Fatal(err)
			}
			want := p.balance
			want.Damaged += c.lost
			want.Pending -= c.lost
			h := openDir(t, dir)
			for range 2 {
				h.balanced(want)
				h.write(1, h.session(1).Last+1, 10)
				want.Accepted++
				want.Pending++
				h = h.reopen()
			}
			h.balanced(want)
		})
	}
}
