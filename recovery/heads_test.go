package recovery

import (
	"slices"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// lived is a directory with a past: generations 1 and 3 are released, 2 holds a stuck write and what was delivered, 4 a
// carried letter, more writes and the released records of 3, and 5 is the newest. It returns what its balance is.
func lived(t *testing.T) (h *opened, stuck uint64) {
	t.Helper()
	h = openDir(t, memoryDir(t))
	h.begin(1)
	sequence := uint64(1)
	fill := func() []uint64 {
		out := h.generation(1, sequence)
		sequence += uint64(len(out))
		return out
	}
	first := fill()
	second := fill()
	stuck = second[2]
	h.bury(first[1], 1, 2, "no")
	h.settle(1, wal.Delivered, slices.DeleteFunc(slices.Clone(first), func(i uint64) bool { return i == first[1] })...)
	h.settle(1, wal.Delivered, slices.DeleteFunc(slices.Clone(second), func(i uint64) bool { return i == stuck })...)
	h.round() // releases the first
	h.settle(1, wal.Delivered, fill()...)
	h.round() // and the third
	fill()
	if err := h.Ledger.Resolve(t.Context(), h.Journal, first[1], wal.Dropped); err != nil {
		t.Fatal(err)
	}
	h.round()
	if n := generationsOn(t, h.dir); !slices.Contains(n, 2) || slices.Contains(n, 1) || slices.Contains(n, 3) {
		t.Fatalf("generations %v", n)
	}
	return h, stuck
}

// hurtHead damages the head of a generation.
func hurtHead(t *testing.T, dir string, numbers ...uint64) {
	t.Helper()
	for _, n := range numbers {
		overwrite(t, dir, n, func(b []byte) []byte { b[30] ^= 1; return b })
	}
}

// Whichever heads are damaged, the account is the same: what the newest good one and the records behind it tell, and where
// there is none, the ledger. Each damaged head costs one record, which is no write.
func TestDamagedHeads(t *testing.T) {
	h, stuck := lived(t)
	want := h.Ledger.Balance()
	dir := h.crash()
	for name, c := range map[string]struct {
		heads []uint64
		lose  bool
	}{
		"none":                           {},
		"newest":                         {heads: []uint64{5}},
		"newest two":                     {heads: []uint64{4, 5}},
		"oldest":                         {heads: []uint64{2}},
		"all":                            {heads: []uint64{2, 4, 5}},
		"oldest, without the ledger":     {heads: []uint64{2}, lose: true},
		"one in between, and the ledger": {heads: []uint64{4}, lose: true},
		"newest, without the ledger":     {heads: []uint64{5}, lose: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, dir)
			hurtHead(t, dir, c.heads...)
			want := want
			if c.lose {
				loseLedger(t, dir)
			}
			r := openDir(t, dir)
			if c.lose {
				want = delivered(want, r)
			}
			r.balanced(want)
			if r.Report.Places() != len(c.heads) || r.Report.Lost != 0 {
				t.Fatalf("damages %v, %d lost", r.Report.Damages, r.Report.Lost)
			}
			if r.session(1).Last == 0 || !slices.Contains(r.indexes(), stuck) {
				t.Fatalf("sessions %+v, pending %v", r.Sessions, r.indexes())
			}
			r.generation(1, r.session(1).Last+1) // with a head that knows it all
			want = r.Ledger.Balance()
			r = r.reopen()
			r.balanced(want)
		})
	}
}

// delivered is want where the ledger is lost: what was delivered of the generations that are still there is pending again.
func delivered(want ledger.Balance, h *opened) ledger.Balance {
	again := h.Ledger.Balance().Pending - want.Pending
	want.Pending += again
	want.Delivered -= again
	return want
}

// The only generation's head is damaged: all that is known of the time before is in the ledger.
func TestDamagedHeadOfTheOnlyGeneration(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	all := h.generation(1, 1)
	h.settle(1, wal.Delivered, all...)
	h.round()
	n := uint64(len(all))
	h.write(1, n+1, 10)
	h.flush()
	if n := generationsOn(t, h.dir); n[0] != 2 {
		t.Fatalf("generations %v", n)
	}
	dir := h.crash()
	hurtHead(t, dir, 2)
	r := openDir(t, dir)
	r.balanced(balance(n+1, n, 0, 0))
	if r.Report.Lost != 0 || r.session(1).Last != n+1 {
		t.Fatalf("report %+v, sessions %+v", r.Report, r.Sessions)
	}
	r.write(1, n+2, 10)
	r = r.reopen()
	r.balanced(balance(n+2, n, 0, 0))
}

// What stood before the first whole record of a headless generation is counted, with room for it in the account.
func TestDamagedHeadAndWhatFollowsIt(t *testing.T) {
	for _, knows := range []bool{true, false} {
		dir, all := history(t)
		s := scanned(t, dir, 3)
		overwrite(t, dir, 3, func(b []byte) []byte { clear(b[:s.Offsets[4]-5]); return b }) // the head and three writes
		if !knows {
			loseLedger(t, dir)
		}
		h := hurtTwice(t, dir, balance(total(all), 0, 0, 3), 3)
		for _, d := range h.Report.Damages {
			if d.First != s.Base || d.Last != s.Base+3 || d.Session.IsZero() {
				t.Fatalf("damages %v, want %d to %d", h.Report.Damages, s.Base, s.Base+3)
			}
		}
	}
}
