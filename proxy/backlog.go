package proxy

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Reader reads records back out of the journal. See wal.Journal.
type Reader interface {
	// Read visits the records at the indexes, which ascend.
	Read(indexes []uint64, visit func(*wal.Record) error) error
	// MayHold says whether the part of the journal that holds index may hold writes of the space, and where it begins.
	MayHold(index uint64, space string) (first uint64, may bool)
}

// Backlog is the Pending of a ledger and its journal: it knows nothing itself, and reads each record when it is asked, but
// for the parts of the journal that hold nothing of the space.
type Backlog struct {
	Runs    func(visit func(first, last uint64) bool) // the indexes of unsettled writes, in ascending runs
	Journal Reader
}

// backlogChunk is how many records are read at one go, for they come ascending and are wanted the other way round.
const backlogChunk = 256

// Visit implements Pending. What cannot be read any more was delivered since, or is damaged and was reported.
func (b Backlog) Visit(ctx context.Context, space string, visit func(*wal.Record) bool) error {
	type run struct{ first, last uint64 }
	var runs []run
	b.Runs(func(first, last uint64) bool {
		runs = append(runs, run{first, last})
		return true
	})
	indexes := make([]uint64, 0, backlogChunk)
	part, may := uint64(math.MaxUint64), false // where the part of the journal begins that was asked for last
	for i := len(runs) - 1; i >= 0; i-- {
		for next := runs[i].last; next >= runs[i].first; next-- {
			if next < part {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				part, may = b.Journal.MayHold(next, space)
			}
			if !may {
				next = max(part, runs[i].first)
				continue
			}
			if indexes = append(indexes, next); len(indexes) < backlogChunk {
				continue
			}
			if more, err := b.chunk(ctx, indexes, space, visit); err != nil || !more {
				return err
			}
			indexes = indexes[:0]
		}
	}
	_, err := b.chunk(ctx, indexes, space, visit)
	return err
}

// chunk visits the records at indexes, which descend.
func (b Backlog) chunk(ctx context.Context, indexes []uint64, space string, visit func(*wal.Record) bool) (more bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	slices.Reverse(indexes)
	var records []wal.Record
	for len(indexes) > 0 {
		read := 0
		err := b.Journal.Read(indexes, func(r *wal.Record) error {
			read++
			if r.Space == space {
				records = append(records, *r)
			}
			return nil
		})
		switch {
		case err == nil:
			indexes = nil
		case errors.Is(err, wal.ErrNotFound), errors.Is(err, wal.ErrDamaged):
			indexes = indexes[min(read+1, len(indexes)):] // go on behind the one that is not there
		default:
			return false, err
		}
	}
	for i := len(records) - 1; i >= 0; i-- {
		if !visit(&records[i]) {
			return false, nil
		}
	}
	return true, nil
}
