package recovery

import (
	"fmt"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// seen follows each session's sequence through the journal, so that damage whose own bytes do not tell whose it was can be
// given a name: the sequences that are missing around it.
type seen struct {
	last map[wal.SessionID]place
	gaps []gap
}

type place struct {
	index, sequence uint64
	space           string
}

// gap is a run of sequences of a session that must stand between two indexes, and were not read.
type gap struct {
	session       wal.SessionID
	space         string
	first, last   uint64 // sequences
	after, before uint64 // indexes
}

func newSeen() seen { return seen{last: map[wal.SessionID]place{}} }

func (s *seen) note(r *wal.Record) {
	told := r.Sequence // all up to it were journaled before
	switch r.Kind {
	case wal.KindWrite:
		told--
	case wal.KindSessionOpened, wal.KindSessionClosed, wal.KindCarriedSession:
	default:
		return
	}
	if r.Session.IsZero() {
		return
	}
	have, ok := s.last[r.Session]
	if ok && told > have.sequence {
		s.add(r.Session, have, told, r.Index)
	}
	if !ok || r.Sequence >= have.sequence {
		s.last[r.Session] = place{index: r.Index, sequence: r.Sequence, space: r.Space}
	}
}

func (s *seen) add(id wal.SessionID, have place, last, before uint64) {
	s.gaps = append(s.gaps, gap{
		session: id, space: have.space, first: have.sequence + 1, last: last, after: have.index, before: before,
	})
}

// nameSessions gives damages that name no session those whose sequences are missing at that very place: the first takes the
// damage's own entry, further ones get one each.
func (p *plan) nameSessions() {
	past := p.builder.Past()
	for _, s := range p.builder.KnownSessions() {
		if have, ok := p.seen.last[s.ID]; ok && s.Last > have.sequence {
			p.seen.add(s.ID, have, s.Last, past.Durable+1)
		}
	}
	for _, d := range p.report.Damages {
		if d.First == 0 || d.Kind != 0 || !d.Session.IsZero() {
			continue
		}
		plain := *d
		for _, g := range p.seen.gaps {
			if !p.explains(&plain, g) {
				continue
			}
			one := d
			if !d.Session.IsZero() {
				one = new(wal.DamageError)
				p.report.Damages = append(p.report.Damages, one)
			}
			*one = plain
			one.Session, one.Sequence, one.Space = g.session, g.first, g.space
			one.Reason += fmt.Sprintf("; sequences %d to %d of this session are missing", g.first, g.last)
		}
	}
}

// explains says that the sequences of g can only have stood in d: it lies between what was read before and after them, has
// room for them, and nothing else is missing there, such as a generation that was released.
func (p *plan) explains(d *wal.DamageError, g gap) bool {
	if g.after >= d.First || g.before <= d.Last || g.last-g.first > d.Last-d.First {
		return false
	}
	for i := 1; i < len(p.scanned); i++ {
		first, last := p.scanned[i-1].LastIndex()+1, p.scanned[i].Base-1
		if first <= last && first < g.before && last > g.after && (first < d.First || last > d.Last) {
			return false
		}
	}
	return true
}
