package recovery

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

func inspected(t *testing.T, dir string) *Inspection {
	t.Helper()
	i, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// told are the indexes that a visit of an inspection names.
func told(t *testing.T, each func(func(*wal.Record) error) error) (out []uint64) {
	t.Helper()
	if err := each(func(r *wal.Record) error { out = append(out, r.Index); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestInspectAStoppedDirectory(t *testing.T) {
	dir := memoryDir(t)
	h := openDir(t, dir)
	h.begin(1)
	var all []uint64
	for n := range uint64(9) {
		all = append(all, h.write(1, n+1, 500))
	}
	h.settle(1, wal.Delivered, all[:3]...)
	h.bury(all[3], 1, 4, "refused")
	h.close()
	before := hash(t, dir)
	i := inspected(t, dir)
	want := ledger.Balance{Tally: wal.Tally{Accepted: 9, Delivered: 3, Dead: 1}, Pending: 5}
	if i.Balance != want || i.Holder != "" || i.Sessions != 1 || i.Ledger != nil || len(i.Damages) != 0 || i.Torn != nil || len(i.Segments) != 1 {
		t.Errorf("%+v", i)
	}
	if got := told(t, i.Pending); !slices.Equal(got, all[4:]) {
		t.Errorf("pending %v, want %v", got, all[4:])
	}
	if got := told(t, i.Dead); !slices.Equal(got, all[3:4]) {
		t.Errorf("dead %v, want %v", got, all[3:4])
	}
	fates := map[string]int{}
	if err := i.EachRecord(func(_ uint64, _ *wal.Record, fate string) error { fates[fate]++; return nil }); err != nil {
		t.Fatal(err)
	}
	if fates["delivered"] != 3 || fates["dead"] != 1 || fates["pending"] != 5 {
		t.Errorf("fates %v", fates)
	}
	if after := hash(t, dir); after != before {
		t.Error("the look has changed the directory")
	}
	if got := i.Repairs(); len(got) != 0 {
		t.Errorf("to repair: %q", got)
	}
}

// TestDeadLettersOutliveTheirGeneration finds one that was carried forward, whole, once, and none that was dropped.
func TestDeadLettersOutliveTheirGeneration(t *testing.T) {
	dir := memoryDir(t)
	h := openDir(t, dir)
	h.begin(1)
	first := h.generation(1, 1)
	h.bury(first[0], 1, 1, "refused")
	h.bury(first[1], 1, 2, "refused")
	h.settle(1, wal.Delivered, first[2:]...)
	h.round()
	h.round()
	if n := generationsOn(t, dir)[0]; n == 1 {
		t.Fatal("the first generation was not released")
	}
	if err := h.Ledger.Resolve(t.Context(), h.Journal, first[1], wal.Dropped); err != nil {
		t.Fatal(err)
	}
	for _, live := range []bool{true, false} {
		if !live {
			h.close()
		}
		i := inspected(t, dir)
		var found []wal.Record
		if err := i.Dead(func(r *wal.Record) error {
			r.Payload = slices.Clone(r.Payload)
			found = append(found, *r)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		want := observation(1, 1, 300)
		if len(found) != 1 || found[0].Index != first[0] || found[0].Sequence != 1 || found[0].Form != want.Form ||
			!slices.Equal(found[0].Payload, want.Payload) {
			t.Errorf("live %v: %d dead letters, %+v", live, len(found), found)
		}
	}
}

func TestInspectNamesDamageAndChangesNothing(t *testing.T) {
	dir := memoryDir(t)
	h := openDir(t, dir)
	h.begin(1)
	rotten := h.write(1, 1, 500)
	h.write(1, 2, 500)
	h.close()
	loseLedger(t, dir)
	flip(t, dir, 1, false, rotten)
	overwrite(t, dir, 1, func(b []byte) []byte { return append(b, "torn tail"...) })
	before := hash(t, dir)
	i := inspected(t, dir)
	if len(i.Damages) != 1 || i.Damages[0].Session != id(1) || i.Damages[0].Sequence != 1 || i.Damages[0].First != rotten {
		t.Errorf("damages %v", i.Damages)
	}
	if i.Torn == nil || i.Torn.Length != int64(len("torn tail")) || i.Balance.Damaged != 1 || i.Lost != 1 {
		t.Errorf("torn %v, %+v", i.Torn, i.Report)
	}
	all := strings.Join(i.Repairs(), "\n")
	for _, step := range []string{"keep a copy of the damaged generation 1", "cut the torn tail of generation 1", "ledger anew", "count 1 obs"} {
		if !strings.Contains(all, step) {
			t.Errorf("repairs %q do not say %q", all, step)
		}
	}
	if after := hash(t, dir); after != before {
		t.Error("the look has changed the directory")
	}
	h = openDir(t, dir)
	h.balanced(i.Balance) // the start does what the look has said
}

func TestInspectRefusesWhatIsNoDataDirectory(t *testing.T) {
	for _, dir := range []string{memoryDir(t), filepath.Join(memoryDir(t), "nowhere")} {
		if _, err := Inspect(dir); !errors.Is(err, ErrNoDataDir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	dir := memoryDir(t)
	openDir(t, dir).close()
	if err := os.WriteFile(filepath.Join(dir, "FORMAT"), []byte("engram-sidecar format 99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(dir); !errors.Is(err, wal.ErrNewerFormat) {
		t.Errorf("a newer format: %v", err)
	}
}

// TestAViewIsOneMoment has the newest generation finished, and the oldest released, between the steps of a look: the one is
// whole in it, and the other still there.
func TestAViewIsOneMoment(t *testing.T) {
	dir := memoryDir(t)
	h := openDir(t, dir)
	h.begin(1)
	v := newView()
	look := func() bool {
		t.Helper()
		more, err := v.open(JournalDir(dir), generationsOn(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		return more
	}
	first := h.generation(1, 1)
	look()
	h.generation(1, uint64(len(first))+1)
	h.settle(1, wal.Delivered, first...)
	h.round()
	h.round()
	if n := generationsOn(t, dir)[0]; n == 1 {
		t.Fatal("the first generation was not released")
	}
	for look() {
	}
	if err := v.measure(); err != nil {
		t.Fatal(err)
	}
	p := emptyPlan(dir, nil)
	p.looking, p.view = true, v
	if err := p.make(); err != nil {
		t.Fatal(err)
	}
	if len(p.report.Damages) != 0 || p.report.Balance.Accepted != h.Ledger.Balance().Accepted || len(p.remove) == 0 {
		t.Errorf("%+v, to be removed %v, %v", p.report, p.remove, p.report.Damages)
	}
	if err := v.close(); err != nil {
		t.Error(err)
	}
}

// TestAViewOfWhatMovesOn has all that was listed released and gone before the first of it is opened.
func TestAViewOfWhatMovesOn(t *testing.T) {
	dir := memoryDir(t)
	h := openDir(t, dir)
	h.begin(1)
	v := newView()
	listings := 0
	err := v.fill(JournalDir(dir), func() ([]uint64, error) {
		found := generationsOn(t, dir)
		if listings++; listings > 1 {
			return found, nil
		}
		for n := range uint64(3) {
			h.settle(1, wal.Delivered, h.generation(1, 100*n+1)...)
			h.round()
		}
		h.round()
		if left := generationsOn(t, dir); slices.Contains(left, found[len(found)-1]) {
			t.Fatalf("generations %v were listed, %v are left", found, left)
		}
		return found, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(v.files) == 0 || v.files[h.Journal.Generations()[0].Number] == nil {
		t.Errorf("generations %v are in the view, %+v in the journal", v.numbers(), h.Journal.Generations())
	}
	if err := v.close(); err != nil {
		t.Error(err)
	}
}

// busy writes, delivers and releases until it is stopped. It tells how many writes are acknowledged.
type busy struct {
	*opened
	acked atomic.Uint64
	end   chan struct{}
	done  chan error
}

func keepBusy(t *testing.T, dir string) *busy {
	b := &busy{opened: openDir(t, dir), end: make(chan struct{}), done: make(chan error, 1)}
	b.begin(1)
	go func() { b.done <- b.work() }() // ends with end; stop waits for it
	return b
}

func (b *busy) work() error {
	for n := uint64(1); ; n++ {
		select {
		case <-b.end:
			return nil
		default:
		}
		r := observation(1, n, 6000)
		if _, err := b.Journal.Write(context.Background(), &r); err != nil {
			return err
		}
		b.acked.Store(n)
		b.Ledger.Settle(r.Index, id(1), wal.Delivered)
		if n%7 != 0 {
			continue
		}
		if err := b.Ledger.Round(context.Background(), b.Journal); err != nil {
			return err
		}
	}
}

func (b *busy) stop() {
	b.t.Helper()
	close(b.end)
	if err := <-b.done; err != nil {
		b.t.Error(err)
	}
	b.close()
}

// TestInspectUnderLoad looks again and again while generations come and go: each look is one moment, whole.
func TestInspectUnderLoad(t *testing.T) {
	dir := memoryDir(t)
	b := keepBusy(t, dir)
	var newest uint64
	for range 60 {
		acked := b.acked.Load()
		i, err := Inspect(dir)
		if err != nil {
			t.Fatal(err)
		}
		if i.Holder == "" || len(i.Damages) != 0 || i.Balance.Accepted < acked || i.Balance.Damaged != 0 {
			t.Fatalf("acked %d, found %+v, %v", acked, i.Report, i.Damages)
		}
		newest = max(newest, i.Segments[len(i.Segments)-1].Number)
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b.stop()
	if newest < 3 {
		t.Errorf("only %d generations were seen: nothing came and went", newest)
	}
}
