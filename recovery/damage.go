package recovery

import (
	"slices"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// start is where a generation begins whose head is damaged.
type start struct {
	index uint64
	exact bool // else it is the lowest index that it can be
}

// leastHead and leastEntry are the fewest bytes that a head and any other record take in a segment.
const (
	leastHead  = 156
	leastEntry = 77
)

// begin opens the account of a generation whose head is damaged, at the lowest index that may stand before its first whole
// record: what is missing there must find room in the account.
func (p *plan) begin(n uint64) error {
	s, err := p.scan(n, nil)
	if err != nil {
		return err
	}
	at := start{index: s.Base - min(s.Base-1, 1+less(uint64(s.Offsets[0]), leastHead)/leastEntry)}
	if known := p.builder.Base(n); known != 0 {
		at = start{index: known, exact: true}
	} else if i := len(p.scanned) - 1; i >= 0 {
		next := p.scanned[i].LastIndex() + 1
		at = start{index: max(at.index, next), exact: p.nothingBetween(p.scanned[i].Number, n, nil)}
	}
	p.first[n] = at
	p.builder.Begin(n, at.index)
	return nil
}

// nothingBetween says that no generation between number a and b can have held a record. A number may be skipped: it was made
// ready and never used. The head of b, where it is good, knows: the last generation before it cannot have been released
// before b began, for want of one to tell it. Otherwise behind the newest good head every release is known; before it, and
// without it, only neighbours are sure.
func (p *plan) nothingBetween(a, b uint64, head *wal.Head) bool {
	if head != nil {
		return !slices.ContainsFunc(head.Live, func(s wal.Span) bool { return s.Last > a && s.First < b })
	}
	for n := a + 1; n < b; n++ {
		if p.base.head == 0 || a < p.base.head || p.base.gone[n] || p.base.live[n] {
			return false
		}
	}
	return true
}

// findDamage counts what the scans could not read, and what is missing without a trace: records between two whole ones,
// the end of a generation that the next one knows to have been longer, whole generations, and acknowledged records that
// only the ledger remembers.
//
// The newest good head tells how many writes came before it, so that those are counted exactly. Behind it the ledger does,
// up to where it was last written. Where neither does, each missing record counts as a write: a loss is rather told too
// large than too small.
func (p *plan) findDamage() {
	slices.Sort(p.lost)
	p.missing = p.missingBeforeHead()
	for i, s := range p.scanned {
		if s.Number < p.base.head {
			p.countDamage(i, &p.missing)
		}
	}
	p.countLostGenerations()
	behind := p.missingBehindHead()
	for i, s := range p.scanned {
		if s.Number >= p.base.head {
			p.countDamage(i, &behind)
		}
	}
	p.countLostBehindHead(&behind)
	p.countLostEnd(&behind)
	p.countUntraced(behind)
	p.nameSessions()
}

// missingBeforeHead is how many writes before the newest good head are neither here nor released.
func (p *plan) missingBeforeHead() uint64 {
	have := p.base.earlier
	for _, s := range p.scanned {
		if s.Number < p.base.head {
			have += p.builder.Writes(s.Number)
		}
	}
	return less(p.base.accepted, have)
}

// missingBehindHead is how many writes that the ledger knows to have been durable are not accounted for; without limit where
// it is lost.
func (p *plan) missingBehindHead() uint64 {
	if p.builder.Lost() != nil {
		return ^uint64(0)
	}
	past := p.builder.Past()
	return less(past.Total.Accepted, p.builder.WritesThrough(past.Durable))
}

// less is a − b, and 0 where b is larger.
func less(a, b uint64) uint64 { return a - min(a, b) }

// countDamage accounts for each index of a generation that the scan did not find, for no more writes than limit, which it
// lowers. What the ledger cannot have known of is not held against the limit.
func (p *plan) countDamage(i int, limit *uint64) {
	s := p.scanned[i]
	damages := p.named(i)
	first, last := p.bounds(i, &damages)
	p.report.Damages = append(p.report.Damages, damages...)
	p.top = max(p.top, last)
	other := map[uint64]bool{} // known to have been no write
	if at := p.first[s.Number]; at.index != 0 {
		other[at.index] = true // the head, or something in its place
	}
	for _, d := range damages {
		if d.Kind != 0 && d.Kind != wal.KindWrite {
			other[d.First] = true
		}
		p.prove(d)
	}
	own := p.missingHere(i)
	p.count(s.Number, first, last, &own, limit, func(index uint64) bool { return found(s, index) || other[index] })
}

// count accounts for the missing indexes from first to last, for no more writes than own, nor than limit in so far as head or
// ledger can have known of them. An index whose fate is known was a write for certain, and comes before those that may have
// been something else.
func (p *plan) count(number, first, last uint64, own, limit *uint64, skip func(uint64) bool) {
	known := p.builder.Past().Durable
	for _, sure := range []bool{true, false} {
		for index := first; index <= last && *own > 0; index++ {
			if skip(index) || (p.builder.Fate(index) != 0) != sure {
				continue
			}
			if number < p.base.head || index <= known {
				if *limit == 0 {
					continue
				}
				*limit--
			}
			*own--
			p.builder.Damage(number, index)
		}
	}
}

// missingHere is how many writes of generation i can be missing, by what its own head and the next one's say; without limit
// where they do not say.
func (p *plan) missingHere(i int) uint64 {
	if i+1 == len(p.scanned) || p.scanned[i].Head == nil || p.scanned[i+1].Head == nil {
		return ^uint64(0)
	}
	return less(p.scanned[i+1].Head.Accepted-p.scanned[i].Head.Accepted, p.builder.Writes(p.scanned[i].Number))
}

// named lists the damages of generation i. Of those before the first whole record only the neighbours know the indexes.
func (p *plan) named(i int) []*wal.DamageError {
	s := p.scanned[i]
	if at := p.first[s.Number]; at.exact {
		s.Follow(at.index)
	}
	var out []*wal.DamageError
	for k := range s.Damages {
		d := s.Damages[k].DamageError
		out = append(out, &d)
	}
	return out
}

// bounds are the first and the last index that generation i must have held, as far as its neighbours and the ledger tell. A
// missing end is added to its damages, or names the one that is there.
func (p *plan) bounds(i int, damages *[]*wal.DamageError) (first, last uint64) {
	s := p.scanned[i]
	first, last = s.Base, s.LastIndex()
	if at := p.first[s.Number]; at.index != 0 {
		first = at.index
	}
	var unnamed *wal.DamageError
	for _, d := range *damages {
		if last = max(last, d.Last); d.First == 0 && d.Offset >= s.End {
			unnamed = d
		}
	}
	if i+1 == len(p.scanned) {
		return first, last // see countLostEnd
	}
	end := p.builder.KnownLast(s.Number)
	if p.endMissing(i, last) {
		end = max(end, p.scanned[i+1].Base-1)
	}
	if end <= last {
		return first, last
	}
	if unnamed == nil {
		unnamed = &wal.DamageError{File: s.Path, Offset: s.End, Reason: "the end of the generation is missing"}
		*damages = append(*damages, unnamed)
	}
	unnamed.First, unnamed.Last = last+1, end
	return first, end
}

// endMissing says whether generation i had records behind index last, as far as the next one tells.
func (p *plan) endMissing(i int, last uint64) bool {
	s, next := p.scanned[i], p.scanned[i+1]
	return next.Head != nil && next.Base > last+1 && p.nothingBetween(s.Number, next.Number, next.Head)
}

func found(s *wal.Scanned, index uint64) bool {
	return index >= s.Base && index <= s.LastIndex() && s.Offsets[index-s.Base] != 0
}

// prove lets a session resume where the whole header of a damaged record says that it was.
func (p *plan) prove(d *wal.DamageError) {
	switch d.Kind {
	case wal.KindWrite, wal.KindSessionOpened, wal.KindCarriedSession:
		p.builder.Prove(ledger.Session{ID: d.Session, Space: d.Space, Lane: wal.LaneNormal, Last: d.Sequence})
	case wal.KindSessionClosed:
		p.builder.Prove(ledger.Session{
			ID: d.Session, Space: d.Space, Lane: wal.LaneNormal, Last: d.Sequence, Closed: true, ClosedAt: p.began,
		})
	}
}
