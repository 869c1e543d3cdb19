package ledger

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Builder makes a ledger from the journal's records and what is left of the ledger's file. Its methods are called in the
// order Load, Released, Apply (and Begin) for every record, Damage, Lose and Prove, Reconcile, Build; until Build it changes
// nothing on disk. It is for one goroutine.
type Builder struct {
	x       *index
	known   *known
	path    string
	journal [16]byte
	log     hclog.Logger

	lost    error               // why the file could not be used, nil where it could
	late    map[uint64][]uint64 // dead letters that the file does not hold, by the generation that carries them
	damaged map[uint64]bool     // writes that cannot be read any more
	missed  map[uint64]bool     // generations that are not there, and have to be accounted for until a head forgets them
}

// Load reads the ledger's file, where there is one, and begins to build. A damaged file is no error: Lost tells of it,
// and Build makes a new one. The error wraps wal.ErrNewerFormat, or is the file system's.
func Load(dataDir string, journal [16]byte, log hclog.Logger) (*Builder, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	b := &Builder{
		path: filepath.Join(dataDir, FileName), journal: journal, log: log,
		late: map[uint64][]uint64{}, damaged: map[uint64]bool{}, missed: map[uint64]bool{},
	}
	k, err := readDisk(b.path, journal)
	switch {
	case err == nil:
		b.known = k
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrDamaged):
		b.lost = err
	default:
		return nil, err
	}
	b.x = newIndex(b.known)
	return b, nil
}

// Lost says why the file could not be used: nil, or an error that wraps os.ErrNotExist or ErrDamaged.
func (b *Builder) Lost() error { return b.lost }

// Past is what the file knew; zero where it is lost.
func (b *Builder) Past() Past {
	if b.known == nil {
		return Past{}
	}
	return b.known.past
}

// Base is the first index of a generation where the file knows it, else 0.
func (b *Builder) Base(generation uint64) uint64 {
	if k := b.known.generation(generation); k != nil {
		return k.base
	}
	return 0
}

// KnownLast is the highest index of a generation whose fate the file knows, else 0.
func (b *Builder) KnownLast(generation uint64) (last uint64) {
	if k := b.known.generation(generation); k != nil {
		k.settled.runs(func(_, end uint64) bool { last = k.base + end; return true })
	}
	return last
}

// Released sets the counters of the generations that are gone, as the newest good head and the released records behind it
// tell them. They know every later fate of a dead letter that was told at or before index from. It comes before the first
// Apply.
func (b *Builder) Released(t wal.Tally, from uint64) { b.x.released, b.x.from = t, from }

// Begin opens the account of a generation whose first record is damaged: base is the lowest index that may have been its.
func (b *Builder) Begin(generation, base uint64) { b.x.begin(generation, base) }

// Apply takes in one record; they come in the order of the journal. Its bytes may change after the call. The error wraps
// wal.ErrDamaged: the record's frame is whole, but its payload is none of its kind. It is accounted for all the same.
func (b *Builder) Apply(generation uint64, r *wal.Record) error {
	if err := b.x.apply(generation, r); err != nil {
		return fmt.Errorf("generation %d, index %d: %w", generation, r.Index, err)
	}
	if r.Kind != wal.KindCarriedLetter {
		return nil
	}
	c, err := wal.DecodeCarriedLetter(r.Payload)
	if err != nil {
		return err
	}
	if !b.known.hasLetter(c.Index) {
		b.late[generation] = append(b.late[generation], c.Index)
	}
	return nil
}

// Damage counts a write that stood in a generation and cannot be read any more. Where its fate is known nothing is lost.
func (b *Builder) Damage(generation, index uint64) {
	g := b.x.generation(generation)
	if g == nil {
		g = b.x.begin(generation, index)
	}
	if index < g.base || g.writes.has(index-g.base) {
		return
	}
	g.last = max(g.last, index)
	g.accept(index)
	f := b.Fate(index)
	if f == 0 {
		f = wal.Damaged
	}
	g.fate(index, f)
	b.damaged[index] = true
}

// Lose counts writes of generations that are not there to hold an account of their own; none are named where it is not known
// which. Those whose fate the file knows are not lost.
func (b *Builder) Lose(writes uint64, generations ...uint64) {
	var t wal.Tally
	for _, n := range generations {
		t = t.Plus(b.known.tally(n))
		b.missed[n] = true
	}
	if t.Accepted > writes { // then these cannot be the ones
		t = wal.Tally{}
	}
	t.Damaged += writes - t.Accepted
	t.Accepted = writes
	b.x.released = b.x.released.Plus(t)
}

// KnownSessions lists the sessions that the file knows.
func (b *Builder) KnownSessions() []Session {
	if b.known == nil {
		return nil
	}
	return b.known.sessions
}

// KnownGenerations lists the generations that the file has an account of.
func (b *Builder) KnownGenerations() []uint64 {
	if b.known == nil {
		return nil
	}
	return slices.Collect(maps.Keys(b.known.gens))
}

// Fate is what became of a write, as far as file and late fates tell; 0 where they do not.
func (b *Builder) Fate(index uint64) wal.Fate {
	if t := b.x.settled[index]; t != nil {
		return t.late.Fate
	}
	return b.known.fate(index)
}

// Prove takes in what the header of a damaged record proves of its session: it resumes at that sequence, never below.
func (b *Builder) Prove(s Session) {
	if !s.ID.IsZero() {
		b.x.raise(s, false)
	}
}

// Gone is the account of the generations that are gone.
func (b *Builder) Gone() wal.Tally { return b.x.released }

// Writes is how many writes of a generation are accounted for so far.
func (b *Builder) Writes(generation uint64) uint64 {
	if g := b.x.generation(generation); g != nil {
		return g.tally.Accepted
	}
	return 0
}

// WritesThrough is how many writes with an index up to last there ever were, as far as is known.
func (b *Builder) WritesThrough(last uint64) uint64 {
	n := b.x.released.Accepted
	for _, g := range b.x.gens {
		switch {
		case g.last <= last:
			n += g.tally.Accepted
		case g.base <= last:
			n += g.writes.countThrough(last - g.base)
		}
	}
	return n
}

// Pending says whether the write at index is pending so far.
func (b *Builder) Pending(index uint64) bool {
	g := b.x.holder(index)
	return g != nil && g.writes.has(index-g.base) && !g.settled.has(index-g.base)
}

// Letters lists the indexes of the dead letters, once Reconcile was called.
func (b *Builder) Letters() map[uint64]bool {
	out := make(map[uint64]bool, len(b.x.letters))
	for i := range b.x.letters {
		out[i] = true
	}
	return out
}

// LetterOf reads a dead letter out of the record that carries it; the result points into it. The error wraps wal.ErrDamaged.
func LetterOf(r *wal.Record) (*Letter, error) { return letterOf(r) }

// Balance is the account so far.
func (b *Builder) Balance() Balance { return b.x.balance() }
