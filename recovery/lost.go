package recovery

import (
	"fmt"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// countLostGenerations reports generations that must be there and are not, and counts what is missing before the newest good
// head and was not found missing anywhere else.
func (p *plan) countLostGenerations() {
	var before []uint64
	for _, n := range p.lost {
		if n < p.base.head {
			before = append(before, n)
		}
		d := &wal.DamageError{File: wal.SegmentPath(p.journalDir, n), Reason: "the generation is missing, or nothing in it can be read"}
		if low, high := p.neighbours(n); low != nil && high != nil && high.Base > low.LastIndex()+1 {
			d.First, d.Last = low.LastIndex()+1, high.Base-1
			p.top = max(p.top, d.Last)
		}
		p.report.Damages = append(p.report.Damages, d)
	}
	if p.missing == 0 {
		return
	}
	if len(before) == 0 {
		p.untraced(p.missing)
	}
	p.builder.Lose(p.missing, before...)
	p.missing = 0
}

// countLostBehindHead counts a lost generation behind the newest good head by the indexes that are missing between its
// neighbours.
func (p *plan) countLostBehindHead(limit *uint64) {
	for _, n := range p.lost {
		low, high := p.neighbours(n)
		if n < p.base.head || low == nil || high == nil || high.Base <= low.LastIndex()+1 {
			continue
		}
		writes := min(*limit, high.Base-low.LastIndex()-1)
		*limit -= writes
		p.builder.Lose(writes, n)
	}
}

// neighbours are the generations next to n of which something was read.
func (p *plan) neighbours(n uint64) (low, high *wal.Scanned) {
	for _, s := range p.scanned {
		if s.Number < n {
			low = s
		}
		if s.Number > n && high == nil {
			high = s
		}
	}
	return low, high
}

// countLostEnd reports what the ledger knows to have been durable and the journal does not hold: a torn tail cannot be
// told from rot in the last batch, but for this.
func (p *plan) countLostEnd(limit *uint64) {
	durable := p.builder.Past().Durable
	if p.top >= durable {
		return
	}
	d := &wal.DamageError{File: p.journalDir, First: p.top + 1, Last: durable}
	d.Reason = fmt.Sprintf("the ledger knows index %d to have been durable", durable)
	p.report.Damages = append(p.report.Damages, d)
	if len(p.scanned) == 0 {
		p.builder.Lose(*limit, p.builder.KnownGenerations()...)
		*limit = 0
	} else {
		s := p.scanned[len(p.scanned)-1]
		d.File, d.Offset = s.Path, s.End
		own := ^uint64(0)
		p.count(s.Number, d.First, d.Last, &own, limit, func(uint64) bool { return false })
	}
}

// countUntraced counts what the ledger knows to have been accepted and was not found missing anywhere.
func (p *plan) countUntraced(writes uint64) {
	if writes == 0 || p.builder.Lost() != nil {
		return
	}
	if len(p.lost) == 0 {
		p.untraced(writes)
	}
	p.builder.Lose(writes, p.lost...)
}

func (p *plan) untraced(writes uint64) {
	p.report.Damages = append(p.report.Damages, &wal.DamageError{
		File: p.journalDir, Reason: fmt.Sprintf("%d accepted writes are missing, and nothing tells where they were", writes),
	})
}
