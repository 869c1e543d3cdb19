package recovery

import (
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// tornTail is where the newest generation that was written to is to be cut; at 0 nothing of it is left.
type tornTail struct {
	segment string
	number  uint64
	at      int64
	until   uint64 // index of the last record before it
}

// cutTorn finds out whether the tail of s is torn, and trims s then. It returns true where nothing of s is left.
//
// What a crash leaves of a batch that was never acknowledged cannot be told from rot in the last batch, but where the ledger
// knows the first record concerned to have been durable: that is rot. The good records around it stay then.
func (p *plan) cutTorn(s *wal.Scanned) (nothing bool) {
	at, torn := s.TornAt()
	if !torn {
		return false
	}
	until, first := before(s, at)
	if first <= p.builder.Past().Durable && s.Base != 0 {
		return false
	}
	p.noteTorn(s, at)
	s.Trim(at)
	if s.Base == 0 {
		at, until = 0, 0
	}
	p.cut = &tornTail{segment: s.Path, number: s.Number, at: at, until: until}
	return s.Base == 0
}

// before is the last whole record that begins before byte at, and the index of the first one concerned by what lies there,
// as far as is known.
func before(s *wal.Scanned, at int64) (until, first uint64) {
	first = s.Base
	for i, off := range s.Offsets {
		if off != 0 && int64(off) < at {
			until, first = s.Base+uint64(i), s.Base+uint64(i)+1
		}
	}
	return until, first
}

func (p *plan) noteTorn(s *wal.Scanned, at int64) {
	for i := range s.Damages {
		if d := &s.Damages[i].DamageError; d.Offset >= at {
			torn := *d
			torn.Offset, torn.Length = at, s.Size-at
			p.report.Torn = &torn
			return
		}
	}
}
