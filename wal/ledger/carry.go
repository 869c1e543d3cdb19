package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

const (
	// smallGeneration counts as this many bytes when it is weighed whether carrying forward is worth it.
	smallGeneration = 64 << 10
	// sessionSize and tombSize are what carrying one costs, in bytes; both are told too large, so that a generation that
	// holds nothing but what was carried into it is not carried on.
	sessionSize = 160
	tombSize    = 120
	letterExtra = 256
	// carryAtOnce bounds the bytes of letters in memory on their way from the file to the journal.
	carryAtOnce = 1 << 20
)

// leaving lists the finished generations that may go: no write in them is pending, and to carry forward what only they can
// tell costs no more than half of what they give back. That bounds how often anything is copied, and what is kept for want
// of it is at most twice what is alive.
func (l *Ledger) leaving(finished []wal.Generation) []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []uint64
	var costs map[uint64]int64
	for _, g := range finished {
		x := l.x.generation(g.Number)
		switch {
		case x == nil:
			out = append(out, g.Number) // no record of it counts
			continue
		case x.pending() > 0 || l.x.lateFate(x, finished[len(finished)-1].Number+1):
			continue
		case costs == nil:
			costs = l.costs()
		}
		cost := costs[g.Number] + int64(l.x.pins[g.Number])*sessionSize
		for _, t := range x.tombs {
			if l.x.needs(t, g.Number) {
				cost += tombSize
			}
		}
		if cost <= max(g.Bytes, smallGeneration)/2 {
			out = append(out, g.Number)
		}
	}
	return out
}

// costs is what carrying letters out of each generation would take, in bytes. l.mu is held.
func (l *Ledger) costs() map[uint64]int64 {
	costs := map[uint64]int64{}
	for _, letter := range l.x.letters {
		costs[letter.home] += letter.size + letterExtra
	}
	return costs
}

// clear carries forward what only one generation can tell, and returns when that is durable. That a letter is superseded by
// a write of it is told with the letter, whichever generation holds that.
func (l *Ledger) clear(ctx context.Context, j Records, p *wal.Producer, number uint64) error {
	letters, err := l.outdateBy(j, number, 0)
	if err != nil {
		return err
	}
	l.mu.Lock()
	var records []wal.Record
	if l.x.pins[number] > 0 { // or else all sessions were looked at for nothing, while no commit can be told of
		for _, s := range l.x.sessions {
			if s.needs(number) {
				records = append(records, s.record())
			}
		}
	}
	if x := l.x.generation(number); x != nil {
		for _, t := range x.tombs {
			if l.x.needs(t, number) {
				records = append(records, t.record())
			}
		}
	}
	for i, letter := range l.x.letters {
		if letter.home == number && !slices.Contains(letters, i) {
			letters = append(letters, i)
		}
	}
	l.mu.Unlock()
	if err := l.carry(ctx, p, records, letters); err != nil {
		return fmt.Errorf("carry forward what generation %d tells: %w", number, err)
	}
	return nil
}

// adopt tells the journal of the sessions and letters that only the ledger's file knows, since damage took from the journal
// what it had of them.
func (l *Ledger) adopt(ctx context.Context, p *wal.Producer) error {
	l.mu.Lock()
	var records []wal.Record
	var letters []uint64
	if l.x.orphans {
		for _, s := range l.x.sessions {
			if l.x.orphan(s) {
				records = append(records, s.record())
			}
		}
		l.x.orphans = len(records) > 0 // they are found once more, to see that the journal tells of them now
	}
	for i, letter := range l.x.letters {
		if letter.home == 0 {
			letters = append(letters, i)
		}
	}
	l.mu.Unlock()
	return l.carry(ctx, p, records, letters)
}

// carry appends the records and the letters, a bounded number of these at a time, and returns when all are durable. A letter
// that cannot be read stays where it is.
func (l *Ledger) carry(ctx context.Context, p *wal.Producer, records []wal.Record, letters []uint64) error {
	var size int64
	for _, i := range letters {
		letter, err := l.Letter(i)
		if err != nil {
			l.unreadable(i, err)
			continue
		}
		records = append(records, letter.record())
		if size += letter.size(); size < carryAtOnce {
			continue
		}
		if err := appendAll(ctx, p, records); err != nil {
			return err
		}
		records, size = nil, 0
	}
	return appendAll(ctx, p, records)
}

// unreadable tells of a letter that keeps its generation, once.
func (l *Ledger) unreadable(index uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if letter := l.x.letters[index]; letter != nil && !letter.unread {
		letter.unread = true
		l.log.Error("a dead letter cannot be read; it keeps its generation", "index", index, "error", err)
	}
}

// appendAll returns when all records are durable. Where it fails some of them may be; they are told again then, and the
// newest counts.
func appendAll(ctx context.Context, p *wal.Producer, records []wal.Record) (err error) {
	if len(records) == 0 {
		return nil
	}
	if err = p.AppendAll(records); err == nil {
		_, err = p.Wait(ctx, records[len(records)-1].Index)
	}
	if errors.Is(err, wal.ErrFull) || errors.Is(err, wal.ErrRefused) {
		p.Reset()
	}
	return err
}
