package embedded

import "fmt"

// MeantFor is how many memories this store is meant for: so many were measured (docs/scaling.md). It takes more, and each
// makes recalls slower.
const MeantFor = 1_000_000

// nearPercent is from which share of its size on a store says so.
const nearPercent = 80

// Limit is how many memories, with superseded versions, the store takes; where nothing limits it, how many it is meant for.
func (s *Store) limit() int {
	if s.cfg.MaxMemories > 0 {
		return s.cfg.MaxMemories
	}
	return MeantFor
}

// atLimit refuses a batch for which the limit leaves no room. What waits stays in the journal.
func (s *Store) atLimit(more int) error {
	if most := s.cfg.MaxMemories; most > 0 && int(s.committed)+more > most {
		return fmt.Errorf("embedded store: %d of at most %d memories are stored, %d of them superseded versions; raise "+
			"embedded-max-memories, give the superseded ones up with `engram-sidecar store compact`, or move to a larger store",
			s.committed, most, int(s.committed)-s.live)
	}
	return nil
}

// warn says once for each step when the store nears its size: at 80, 90, 100 % and each further tenth. Writer only.
func (s *Store) warn() {
	share := int(int64(s.committed) * 100 / int64(s.limit()))
	step := share / 10
	if share < nearPercent || step <= s.warned {
		return
	}
	s.warned = step
	if s.cfg.MaxMemories > 0 {
		s.log.Warn("the embedded store nears its limit; at the limit it stores no more, and what waits stays in the journal",
			"memories", s.committed, "superseded", int(s.committed)-s.live, "embedded-max-memories", s.cfg.MaxMemories, "percent", share)
		return
	}
	s.log.Warn("the embedded store nears the size it is meant for; recalls grow slower with each further memory, an Engram "+
		"server or PostgreSQL goes further: see docs/scaling.md", "memories", s.committed, "superseded", int(s.committed)-s.live,
		"meant for", MeantFor, "percent", share)
}
