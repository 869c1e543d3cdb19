package wal

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
)

// spaceSet says which memory spaces a generation's writes may be of: one bit for each, found by a hash. It errs on one
// side only: a space that is there is never missed. A hundred spaces in one generation fill a tenth of it.
type spaceSet struct {
	bits [16]uint64
	last string // the space that was added last: records come in runs
	any  bool
}

var spaceSeed = maphash.MakeSeed()

// add takes in the space of a write.
func (s *spaceSet) add(space string) {
	if s.any && space == s.last {
		return
	}
	word, bit := spaceBit(space)
	s.bits[word] |= bit
	s.last, s.any = space, true
}

func (s *spaceSet) mayHold(space string) bool {
	word, bit := spaceBit(space)
	return s.bits[word]&bit != 0
}

func spaceBit(space string) (word int, bit uint64) {
	h := maphash.String(spaceSeed, space) % (16 * 64)
	return int(h / 64), 1 << (h % 64)
}

// MayHold says whether a write of the space may stand in the generation that holds index, and where that generation
// begins: false is certain for all of its records that are durable now. What this run has written it knows; a generation
// of an earlier run is looked through the first time, which reads the heads of its frames and keeps some hundred bytes.
// What cannot be looked through may hold anything.
func (j *Journal) MayHold(index uint64, space string) (first uint64, may bool) {
	g := j.find(index)
	if g == nil {
		return index, true
	}
	if first, known, may := j.ask(g, space); known {
		return first, may
	}
	set, err := j.learn(g)
	if err != nil {
		j.log.Debug("a generation's spaces are not known", "generation", g.number, "error", err)
		return index, true
	}
	j.gens.Lock()
	g.spaces = set
	j.gens.Unlock()
	first, _, may = j.ask(g, space)
	return first, may
}

func (j *Journal) ask(g *generation, space string) (first uint64, known, may bool) {
	j.gens.RLock()
	defer j.gens.RUnlock()
	if g.spaces == nil {
		return g.base, false, false
	}
	return g.base, true, g.spaces.mayHold(space)
}

// learn reads the heads of all frames of a generation that an earlier run has finished. One that is damaged is passed
// over: nobody can read it.
func (j *Journal) learn(g *generation) (*spaceSet, error) {
	f, err := os.Open(g.path)
	if err != nil {
		return nil, fmt.Errorf("read generation %d: %w", g.number, err)
	}
	defer f.Close() //nolint:errcheck // it was only read from
	var set spaceSet
	buf := make([]byte, minFrame+MaxSpace+MaxID)
	for _, off := range g.offsets { // of a generation that is finished: it does not change
		if off == 0 {
			continue
		}
		n, err := f.ReadAt(buf, int64(off))
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read generation %d: %w", g.number, err)
		}
		var r Record
		if _, err := parseHeader(buf[:n], g.seal, &r); err == nil && r.Kind == KindWrite {
			set.add(r.Space)
		}
	}
	return &set, nil
}
