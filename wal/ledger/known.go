package ledger

import (
	"cmp"
	"slices"
	"sort"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// known is what the ledger's file said when it was opened. Its methods work on nil: a lost ledger knows nothing.
type known struct {
	gens     map[uint64]*knownGeneration
	order    []*knownGeneration // the same, ascending by base
	sessions []Session
	letters  map[uint64]knownLetter // the dead letters in the file, by the index of the write
	past     Past
}

type knownGeneration struct {
	base    uint64
	settled bitmap
	odd     map[uint64]wal.Fate
}

type knownLetter struct {
	session    wal.SessionID
	sequence   uint64
	size       int64
	id         idKey
	superseded bool
}

// letter is what is kept in memory of it.
func (k knownLetter) letter(since, home uint64) *letter {
	return &letter{session: k.session, sequence: k.sequence, since: since, home: home, size: k.size, id: k.id, superseded: k.superseded}
}

// Past is what the file knew of the journal as a whole when it was last written; zero where it is lost.
type Past struct {
	Durable  uint64    // the highest index that was durable
	Newest   uint64    // the highest number of a generation, ever
	Released wal.Tally // the writes of released generations
	Total    wal.Tally // all writes
}

func newKnown() *known {
	return &known{gens: map[uint64]*knownGeneration{}, letters: map[uint64]knownLetter{}}
}

// sort makes the accounts ready for fate.
func (k *known) sort() {
	for _, g := range k.gens {
		k.order = append(k.order, g)
	}
	slices.SortFunc(k.order, func(a, b *knownGeneration) int { return cmp.Compare(a.base, b.base) })
}

func (k *known) generation(number uint64) *knownGeneration {
	if k == nil {
		return nil
	}
	return k.gens[number]
}

// fate is what became of the write at index, as the file knew; 0 where it was pending.
func (k *known) fate(index uint64) wal.Fate {
	if k == nil {
		return 0
	}
	i := sort.Search(len(k.order), func(i int) bool { return k.order[i].base > index })
	if i == 0 {
		return 0
	}
	g := k.order[i-1]
	at := index - g.base
	if !g.settled.has(at) {
		return 0
	}
	f, odd := g.odd[at]
	switch {
	case !odd:
		return wal.Delivered
	case f == wal.Dead && !k.hasLetter(index):
		return 0 // a dead letter without its letter: deliver it again rather than lose it
	default:
		return f
	}
}

func (k *known) hasLetter(index uint64) bool {
	if k == nil {
		return false
	}
	_, ok := k.letters[index]
	return ok
}

// tally counts the fates of a generation's writes as the file knew them; Accepted is their sum.
func (k *known) tally(number uint64) (t wal.Tally) {
	g := k.generation(number)
	if g == nil {
		return t
	}
	g.settled.runs(func(first, last uint64) bool {
		for i := first; i <= last; i++ {
			if f := k.fate(g.base + i); f != 0 {
				t = t.Add(f, 1)
				t.Accepted++
			}
		}
		return true
	})
	return t
}
