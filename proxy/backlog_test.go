package proxy

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// fakeReader holds the records 1 to last; those named are gone or damaged.
type fakeReader struct {
	last    uint64
	missing map[uint64]error
	part    uint64              // how many records stand together in one part, 0 for one part
	without map[uint64]struct{} // parts of which the space that is asked for is not, by their first index
	reads   []uint64
	asked   int // MayHold was called so often
}

func (f *fakeReader) MayHold(index uint64, _ string) (first uint64, may bool) {
	f.asked++
	first = 1
	if f.part > 0 {
		first = index - (index-1)%f.part
	}
	_, none := f.without[first]
	return first, !none
}

func (f *fakeReader) Read(indexes []uint64, visit func(*wal.Record) error) error {
	before := uint64(0)
	for _, index := range indexes {
		if index <= before {
			return fmt.Errorf("indexes do not ascend: %v", indexes)
		}
		before = index
		f.reads = append(f.reads, index)
		if err := f.missing[index]; err != nil {
			return err
		}
		space := "even"
		if index%2 == 1 {
			space = "odd"
		}
		if err := visit(&wal.Record{Index: index, Space: space}); err != nil {
			return err
		}
	}
	return nil
}

func backlogOf(f *fakeReader, runs ...[2]uint64) Backlog {
	return Backlog{Journal: f, Runs: func(visit func(first, last uint64) bool) {
		for _, r := range runs {
			if !visit(r[0], r[1]) {
				return
			}
		}
	}}
}

func TestBacklogComesNewestFirst(t *testing.T) {
	f := &fakeReader{last: 2000, missing: map[uint64]error{
		1: wal.ErrNotFound, 900: &wal.DamageError{First: 900, Last: 900}, 1000: wal.ErrNotFound, 1001: wal.ErrNotFound,
	}}
	b := backlogOf(f, [2]uint64{1, 3}, [2]uint64{10, 10}, [2]uint64{800, 1500})
	var want []uint64
	for index := uint64(1500); index >= 800; index-- {
		if index%2 == 0 && f.missing[index] == nil {
			want = append(want, index)
		}
	}
	want = append(want, 10, 2)
	var got []uint64
	if err := b.Visit(t.Context(), "even", func(r *wal.Record) bool {
		got = append(got, r.Index)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("visited %v, want %v", got, want)
	}
}

func TestBacklogEndsWhenItMust(t *testing.T) {
	b := backlogOf(&fakeReader{last: 2000}, [2]uint64{1, 2000})
	seen := 0
	if err := b.Visit(t.Context(), "odd", func(*wal.Record) bool { seen++; return seen < 5 }); err != nil || seen != 5 {
		t.Errorf("%d seen, %v", seen, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	err := b.Visit(ctx, "odd", func(*wal.Record) bool { cancel(cause); return true })
	if !errors.Is(err, cause) {
		t.Errorf("ended with %v", err)
	}
	b = backlogOf(&fakeReader{missing: map[uint64]error{7: errDisk}}, [2]uint64{1, 9})
	if err := b.Visit(t.Context(), "odd", func(*wal.Record) bool { return true }); !errors.Is(err, errDisk) {
		t.Errorf("a broken disk gave %v", err)
	}
	if err := backlogOf(&fakeReader{}).Visit(t.Context(), "odd", nil); err != nil {
		t.Errorf("nothing pending gave %v", err)
	}
}

// TestBacklogPassesOverOtherSpaces reads nothing of the parts of the journal that hold nothing of the space, and asks for
// each part once.
func TestBacklogPassesOverOtherSpaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &fakeReader{part: rapid.Uint64Range(1, 400).Draw(t, "part"), without: map[uint64]struct{}{}}
		var runs [][2]uint64
		next := uint64(1)
		for range rapid.IntRange(1, 6).Draw(t, "runs") {
			first := next + rapid.Uint64Range(0, 300).Draw(t, "gap")
			last := first + rapid.Uint64Range(0, 900).Draw(t, "length")
			runs, next = append(runs, [2]uint64{first, last}), last+1
		}
		for first := uint64(1); first < next; first += f.part {
			if rapid.Bool().Draw(t, "nothing here") {
				f.without[first] = struct{}{}
			}
		}
		want, parts := map[uint64]bool{}, map[uint64]bool{}
		for _, r := range runs {
			for index := r[0]; index <= r[1]; index++ {
				part := index - (index-1)%f.part
				parts[part] = true
				if _, none := f.without[part]; !none {
					want[index] = true
				}
			}
		}
		if err := backlogOf(f, runs...).Visit(context.Background(), "even", func(*wal.Record) bool { return true }); err != nil {
			t.Fatal(err)
		}
		if len(f.reads) != len(want) || f.asked != len(parts) {
			t.Fatalf("%d records were read, %d parts asked for; want %d and %d", len(f.reads), f.asked, len(want), len(parts))
		}
		for _, index := range f.reads {
			if !want[index] {
				t.Fatalf("record %d was read", index)
			}
		}
	})
}
