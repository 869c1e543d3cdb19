package letters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

const (
	// atOnce bounds the letters of one Put: deliveries wait meanwhile.
	atOnce = 32
	// putTimeout ends a Put that a store does not answer.
	putTimeout = 30 * time.Second
)

// Replay implements admin.DeadLetters. It ends early when the store takes nothing at all.
func (d *Desk) Replay(ctx context.Context, sel admin.Selection) (out admin.LetterResults, err error) {
	end, err := d.begin(ctx)
	if err != nil {
		return out, err
	}
	defer end()
	todo := d.choose(sel, &out)
	if len(todo) == 0 {
		return out, nil
	}
	r := &replay{Desk: d, out: &out}
	if r.seen, err = d.Ledger.Outdate(ctx, d.Journal, 0); err != nil {
		notTried(&out, todo)
		return out, err
	}
	for len(todo) > 0 {
		n := min(len(todo), atOnce)
		behind, err := r.step(ctx, todo[:n])
		todo = append(behind, todo[n:]...)
		if err != nil {
			notTried(&out, todo)
			return out, err
		}
	}
	d.Logger.Info("dead letters were replayed by an operator", "delivered", r.delivered, "of", len(out.Results))
	return out, nil
}

// replay is one Replay under way.
type replay struct {
	*Desk
	out       *admin.LetterResults
	seen      uint64 // up to this index newer versions were looked for
	delivered int
}

// step brings some letters to their outcome and returns those that have to be tried again, for an earlier one of their
// session was with them. With an error it returns those that have none.
func (r *replay) step(ctx context.Context, indexes []uint64) (left []uint64, err error) {
	letters, errs, err := r.put(ctx, indexes)
	if err != nil {
		return indexes, err
	}
	for n, l := range letters {
		if err != nil {
			left = append(left, l.Index)
			continue
		}
		switch class := store.ClassOf(errs[n]); {
		case class == store.ClassNone:
			if err = r.Ledger.Resolve(ctx, r.Journal, l.Index, wal.Delivered); err != nil {
				err = fmt.Errorf("the store has letter %d, and that could not be written down: replay it again, it is stored once: %w", l.Index, err)
				left = append(left, l.Index)
				continue
			}
			r.delivered++
			add(r.out, l, admin.OutcomeDelivered, "")
		case errors.Is(errs[n], store.ErrBehind):
			left = append(left, l.Index)
		case class == store.ClassPermanent:
			l.Reason, l.Attempts, l.DiedAt = errs[n].Error(), l.Attempts+1, time.Now()
			r.Ledger.Amend(*l)
			add(r.out, l, admin.OutcomeRefused, l.Reason)
		case class == store.ClassTransient && ctx.Err() == nil:
			add(r.out, l, admin.OutcomeFailed, errs[n].Error())
		default:
			add(r.out, l, admin.OutcomeFailed, errs[n].Error())
			err = fmt.Errorf("the store takes nothing now: %w", errs[n])
		}
	}
	return left, err
}

// put asks the store, while nobody else does. Letters that are superseded, or no letters any more, are not among those that
// it returns.
func (r *replay) put(ctx context.Context, indexes []uint64) (letters []*ledger.Letter, errs []error, err error) {
	r.Turns.mu.Lock()
	defer r.Turns.mu.Unlock()
	if r.seen, err = r.Ledger.Outdate(ctx, r.Journal, r.seen); err != nil {
		return nil, nil, err
	}
	var batch []wal.Record
	for _, i := range indexes {
		l, err := r.Ledger.Letter(i)
		switch {
		case err != nil:
			add(r.out, &ledger.Letter{Record: wal.Record{Index: i}}, admin.OutcomeFailed, err.Error())
		case l.Superseded:
			add(r.out, l, admin.OutcomeSuperseded, "a newer version of this id was accepted since: drop this one")
		default:
			letters, batch = append(letters, l), append(batch, l.Record)
		}
	}
	if len(batch) == 0 {
		return nil, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	errs = r.Store.Put(ctx, batch)
	if len(errs) != len(batch) {
		return nil, nil, fmt.Errorf("the store gave %d answers to %d letters", len(errs), len(batch))
	}
	return letters, errs, nil
}
