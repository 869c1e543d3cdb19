package wal

import (
	"sync"
	"time"
)

// stock holds the generations that the keeper has made ready for the committer. To make one costs syncs of directories, and
// each of these has the file system write its own journal, which every other sync waits for. So while generations are
// used up fast, several are made at a time: their names share what one sync costs.
type stock struct {
	mu    sync.Mutex
	gens  []*generation
	err   error     // why there is none: the last try found no room
	ahead int       // how many to have
	taken time.Time // when the last one was

	made chan struct{} // cap 1: there may be one, or a reason why not
	used chan struct{} // cap 1: the keeper should look again
}

// A generation that is taken within hurry of the one before doubles how many are made ahead, up to mostAhead.
const (
	hurry     = time.Second
	mostAhead = 8
)

func newStock() *stock {
	return &stock{ahead: 1, made: make(chan struct{}, 1), used: make(chan struct{}, 1)}
}

// take removes the oldest generation. Where there is none it says why, once, and nothing while the keeper is at it.
func (s *stock) take() (*generation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	poke(s.used)
	if len(s.gens) == 0 {
		err := s.err
		s.err = nil
		return nil, err
	}
	g := s.gens[0]
	s.gens = s.gens[1:]
	now := time.Now()
	if now.Sub(s.taken) < hurry {
		s.ahead = min(2*s.ahead, mostAhead)
	} else {
		s.ahead = 1
	}
	s.taken = now
	return g, nil
}

// wanted is how many generations the keeper should make now.
func (s *stock) wanted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gens) > s.ahead/2 {
		return 0
	}
	return s.ahead - len(s.gens)
}

// put adds what the keeper has made, or why it could not make any.
func (s *stock) put(gens []*generation, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gens = append(s.gens, gens...)
	if s.err = err; err != nil {
		s.ahead = 1 // on a full disk one is enough
	}
	poke(s.made)
}

// allocate tries again where there was no room for the journal's own records.
func (s *stock) allocate(room int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.gens {
		if !g.roomed {
			g.allocate(room)
		}
	}
}

// empty takes out all that is left.
func (s *stock) empty() []*generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	gens := s.gens
	s.gens = nil
	return gens
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
