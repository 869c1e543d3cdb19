package letters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// Ledger is where the letters are.
type Ledger interface {
	Letters() []uint64
	Letter(index uint64) (*ledger.Letter, error)
	LetterStats() (count int, bytes int64, limits ledger.Limits)
	Outdate(ctx context.Context, j ledger.Records, from uint64) (through uint64, err error)
	Amend(d ledger.Letter)
	Resolve(ctx context.Context, j ledger.Fates, index uint64, f wal.Fate) error
}

// Journal is where their fates are told.
type Journal interface {
	ledger.Fates
	ledger.Records
}

// Deps are what a Desk works with. Logger may be nil.
type Deps struct {
	Ledger  Ledger
	Journal Journal
	Store   Store
	Turns   *Turns // of whoever else delivers to Store; nil where nobody does
	Logger  hclog.Logger
}

// Desk lists, replays and drops dead letters. Its methods may be called concurrently.
type Desk struct {
	Deps
	busy chan struct{} // holds a token while letters are being settled
}

var _ admin.DeadLetters = (*Desk)(nil)

// NewDesk makes a desk.
func NewDesk(d Deps) *Desk {
	if d.Logger == nil {
		d.Logger = hclog.NewNullLogger()
	}
	if d.Turns == nil {
		d.Turns = &Turns{}
	}
	return &Desk{Deps: d, busy: make(chan struct{}, 1)}
}

// List implements admin.DeadLetters.
func (d *Desk) List(sel admin.Selection, after uint64, limit int) (admin.LetterPage, error) {
	count, bytes, limits := d.Ledger.LetterStats()
	page := admin.LetterPage{
		Count: count, Bytes: bytes, MaxCount: limits.Count, MaxBytes: limits.Bytes, Letters: []admin.DeadLetter{},
	}
	for _, i := range d.candidates(sel) {
		if i <= after {
			continue
		}
		if len(page.Letters) == limit {
			page.Next = page.Letters[limit-1].Index
			break
		}
		l, err := d.Ledger.Letter(i)
		if errors.Is(err, ledger.ErrNoLetter) {
			continue
		}
		if err != nil {
			return page, err
		}
		if shown := Show(l); sel.Fits(&shown) {
			page.Letters = append(page.Letters, shown)
		}
	}
	return page, nil
}

// candidates are the indexes that a selection may mean, ascending.
func (d *Desk) candidates(sel admin.Selection) []uint64 {
	if len(sel.Indexes) == 0 {
		return d.Ledger.Letters()
	}
	return slices.Compact(slices.Sorted(slices.Values(sel.Indexes)))
}

// Show is a letter without what it says.
func Show(l *ledger.Letter) admin.DeadLetter {
	d := admin.DeadLetter{
		Index: l.Index, Space: l.Space, ID: string(l.ID), Sequence: l.Sequence, Lane: l.Lane.String(), Form: l.Form.String(),
		Bytes: len(l.Payload), Reason: l.Reason, Attempts: l.Attempts, AcceptedAt: time.Unix(0, l.Time).UTC(),
		DiedAt: l.DiedAt.UTC(), Superseded: l.Superseded,
	}
	if !l.Session.IsZero() {
		d.Session = l.Session.String()
	}
	return d
}

// begin waits for its turn at the desk, and returns what ends it.
func (d *Desk) begin(ctx context.Context) (func(), error) {
	select {
	case d.busy <- struct{}{}:
		return func() { <-d.busy }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("another replay or drop is under way: %w", ctx.Err())
	}
}

// choose finds what a selection means. Indexes that are no letter are in the results.
func (d *Desk) choose(sel admin.Selection, out *admin.LetterResults) (chosen []uint64) {
	out.Results = []admin.LetterResult{}
	for _, i := range d.candidates(sel) {
		l, err := d.Ledger.Letter(i)
		switch {
		case errors.Is(err, ledger.ErrNoLetter):
			if len(sel.Indexes) > 0 {
				add(out, &ledger.Letter{Record: wal.Record{Index: i}}, admin.OutcomeMissing, err.Error())
			}
		case err != nil:
			add(out, &ledger.Letter{Record: wal.Record{Index: i}}, admin.OutcomeFailed, err.Error())
		default:
			if shown := Show(l); sel.Fits(&shown) {
				chosen = append(chosen, i)
			}
		}
	}
	return chosen
}

func add(out *admin.LetterResults, l *ledger.Letter, outcome, message string) {
	out.Results = append(out.Results, admin.LetterResult{Index: l.Index, ID: string(l.ID), Outcome: outcome, Message: message})
}

// Drop implements admin.DeadLetters.
func (d *Desk) Drop(ctx context.Context, sel admin.Selection) (out admin.LetterResults, err error) {
	end, err := d.begin(ctx)
	if err != nil {
		return out, err
	}
	defer end()
	chosen, dropped := d.choose(sel, &out), 0
	for n, i := range chosen {
		l, err := d.Ledger.Letter(i)
		if err == nil {
			err = d.Ledger.Resolve(ctx, d.Journal, i, wal.Dropped)
		}
		if err != nil {
			notTried(&out, chosen[n:])
			return out, err
		}
		add(&out, l, admin.OutcomeDropped, "")
		dropped++
	}
	d.Logger.Info("dead letters were dropped by an operator", "count", dropped)
	return out, nil
}

func notTried(out *admin.LetterResults, indexes []uint64) {
	for _, i := range indexes {
		add(out, &ledger.Letter{Record: wal.Record{Index: i}}, admin.OutcomeNotTried, "")
	}
}
