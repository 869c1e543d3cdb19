package forward

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// A miss is a record that must be read from the journal, and its place among the items.
type miss struct {
	index uint64
	place int
}

// load appends an item for each of the references, in their order, and returns how many it could. The error says why not
// all of them; it is about the journal, not about a record.
func (f *Forwarder) load(refs []queue.Ref, items []item) ([]item, error) {
	f.round.misses = f.round.misses[:0]
	for _, ref := range refs {
		it := item{ref: ref, group: nowhere}
		hit := false
		if f.cache != nil {
			it.rec, hit = f.cache.Get(ref.Index)
		}
		if !hit {
			f.round.misses = append(f.round.misses, miss{ref.Index, len(items)})
		}
		items = append(items, it)
	}
	unread, err := f.readMisses(items)
	// What was not read hides all behind it: one of them may be a later record of its session.
	end := len(items)
	for _, m := range unread {
		end = min(end, m.place)
	}
	return items[:end], err
}

// readMisses fills in the items that the cache did not have. With an error it returns those it did not come to.
func (f *Forwarder) readMisses(items []item) ([]miss, error) {
	misses := f.round.misses
	slices.SortFunc(misses, func(a, b miss) int { return cmp.Compare(a.index, b.index) })
	for len(misses) > 0 {
		f.round.indexes = f.round.indexes[:0]
		for _, m := range misses {
			f.round.indexes = append(f.round.indexes, m.index)
		}
		n := 0
		err := f.source.Read(f.round.indexes, func(r *wal.Record) error {
			if r.Index != misses[n].index {
				return fmt.Errorf("the journal answered with index %d, expected %d", r.Index, misses[n].index)
			}
			items[misses[n].place].rec = *r
			n++
			return nil
		})
		if err == nil && n < len(misses) {
			err = fmt.Errorf("the journal answered with %d records, expected %d", n, len(misses))
		}
		misses = misses[n:]
		switch {
		case err == nil:
		case errors.Is(err, wal.ErrDamaged), errors.Is(err, wal.ErrNotFound):
			items[misses[0].place].markUnreadable(err)
			misses = misses[1:]
		default:
			return misses, err
		}
	}
	return nil, nil
}

// markUnreadable keeps of a record what its reference and the damage tell.
func (it *item) markUnreadable(err error) {
	lane := wal.LaneHigh + wal.Lane(it.ref.Lane) //nolint:gosec // the queue has as many lanes as wal
	it.rec = wal.Record{Kind: wal.KindWrite, Index: it.ref.Index, Lane: lane}
	it.fate, it.err = damaged, err
	if errors.Is(err, wal.ErrNotFound) {
		it.fate = gone
	}
	var d *wal.DamageError
	if errors.As(err, &d) {
		it.rec.Session, it.rec.Sequence, it.rec.Space = d.Session, d.Sequence, d.Space
	}
}
