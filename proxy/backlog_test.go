package proxy

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// fakeReader holds the records 1 to last; those named are gone or damaged.
type fakeReader struct {
	last    uint64
	missing map[uint64]error
}

func (f *fakeReader) Read(indexes []uint64, visit func(*wal.Record) error) error {
	before := uint64(0)
	for _, index := range indexes {
		if index <= before {
			return fmt.Errorf("indexes do not ascend: %v", indexes)
		}
		before = index
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
