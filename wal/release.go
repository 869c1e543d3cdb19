package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Release gives back the space of a finished generation, all of whose writes have met their fate, as t counts them, and
// whose other news has been carried forward. A released frame is durable before anything is deleted: after a crash in
// between the next start finishes the deletion. ctx is looked at only before that frame is appended. The error wraps ErrHeld
// while somebody copies the journal.
func (j *Journal) Release(ctx context.Context, number uint64, t Tally) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("release generation %d: %w", number, err)
	}
	if t.Pending() != 0 {
		return fmt.Errorf("release generation %d: %d of its writes are still pending", number, t.Pending())
	}
	off, err := j.holdOff()
	if err != nil {
		return fmt.Errorf("release generation %d: %w", number, err)
	}
	defer off.Close() //nolint:errcheck // a directory that was only locked
	var g *generation
	rel := Released{Generation: number, Tally: t}
	r := Record{Kind: KindReleased, Payload: rel.append(nil)}
	_, err = j.write(context.WithoutCancel(ctx), &r, func() (err error) {
		if g, err = j.sealed(number); err != nil {
			return err
		}
		j.released = j.released.Plus(t)
		j.leaving[number] = true
		j.filling.leaving = append(j.filling.leaving, number)
		return nil
	})
	if err != nil {
		return fmt.Errorf("release generation %d: %w", number, err)
	}
	return j.drop(g)
}

// sealed finds a generation that can be released: it is finished, and no other call is about to release it. Journal.mu is
// held.
func (j *Journal) sealed(number uint64) (*generation, error) {
	j.gens.RLock()
	defer j.gens.RUnlock()
	i, ok := slices.BinarySearchFunc(j.gens.table, number, func(g *generation, n uint64) int { return cmp.Compare(g.number, n) })
	switch {
	case !ok || j.leaving[number]:
		return nil, fmt.Errorf("%w: no such generation, or released before", ErrNotFound)
	case !j.gens.table[i].sealed:
		return nil, errors.New("it is still being written")
	default:
		return j.gens.table[i], nil
	}
}

// drop takes g out of the table and deletes its files. Readers that have opened them finish on what they opened.
func (j *Journal) drop(g *generation) error {
	j.gens.Lock()
	i := slices.Index(j.gens.table, g)
	j.gens.table = slices.Delete(j.gens.table, i, i+1)
	j.gens.Unlock()
	j.mu.Lock()
	delete(j.leaving, g.number)
	j.space.appended(-g.bytes)
	j.mu.Unlock()
	return g.remove()
}

// Settle makes the fate durable that a replay or an operator gave to a dead letter. Where its generation was released
// before (released is true) the cumulative counters move with it.
func (j *Journal) Settle(ctx context.Context, index uint64, f Fate, released bool) error {
	if f != Delivered && f != Dropped {
		return errors.New("wal: a dead letter is delivered or dropped, not " + f.String())
	}
	s := Settled{Index: index, Fate: f}
	r := Record{Kind: KindSettled, Payload: s.Append(nil)}
	_, err := j.write(ctx, &r, func() error {
		if released {
			j.released = j.released.Move(f)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("settle dead letter %d: %w", index, err)
	}
	return nil
}

// Totals returns the cumulative counters: all writes ever, and those of released generations by their fate.
func (j *Journal) Totals() (accepted uint64, released Tally) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.accepted + j.filling.writes, j.released
}
