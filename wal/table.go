package wal

import "slices"

// Generation describes one generation on disk.
type Generation struct {
	Number  uint64
	First   uint64 // index of its first record, 0 while it holds none
	Records int    // including damaged ones
	Bytes   int64
	Sealed  bool // nothing more will be written to it
}

// Generations lists the generations that were not released, ascending.
func (j *Journal) Generations() []Generation {
	j.gens.RLock()
	defer j.gens.RUnlock()
	out := make([]Generation, 0, len(j.gens.table))
	for _, g := range j.gens.table {
		d := Generation{Number: g.number, Records: len(g.offsets), Bytes: g.bytes, Sealed: g.sealed}
		if d.Records > 0 {
			d.First = g.base
		}
		out = append(out, d)
	}
	return out
}

// live lists the generations that a head names: those in the table, and the one before it, whose first batch may be under
// way (0 where there is none). Journal.mu is held; the table's lock comes after it.
func (j *Journal) live(before uint64) []Span {
	j.gens.RLock()
	defer j.gens.RUnlock()
	var spans []Span
	add := func(number uint64) {
		if n := len(spans); n > 0 && spans[n-1].Last+1 == number {
			spans[n-1].Last++
		} else {
			spans = append(spans, Span{First: number, Last: number})
		}
	}
	for _, g := range j.gens.table {
		if !j.leaving[g.number] && g.number != before {
			add(g.number)
		}
	}
	if before != 0 {
		add(before)
	}
	return spans
}

// find returns the generation that holds index, or nil.
func (j *Journal) find(index uint64) *generation {
	j.gens.RLock()
	defer j.gens.RUnlock()
	i, ok := slices.BinarySearchFunc(j.gens.table, index, func(g *generation, index uint64) int {
		switch {
		case g.base > index:
			return 1
		case g.next() <= index:
			return -1
		default:
			return 0
		}
	})
	if !ok {
		return nil
	}
	return j.gens.table[i]
}
