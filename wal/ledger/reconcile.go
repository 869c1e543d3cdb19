package ledger

import (
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Reconcile takes over what only the file knows, once all records were applied and all damage counted.
func (b *Builder) Reconcile() {
	if b.known != nil {
		for _, s := range b.known.sessions {
			b.x.raise(s, true)
		}
		b.reconcileLetters()
	}
	b.countLostLetters()
}

// reconcileLetters takes over the dead letters that only the file holds: those that died in a living generation, and those
// whose carried frame was damaged. A letter whose write cannot be read any more has no home: the keeper carries it at once.
func (b *Builder) reconcileLetters() {
	for i, k := range b.known.letters {
		if l := b.x.letters[i]; l != nil {
			l.superseded = l.superseded || k.superseded
			continue
		}
		if b.x.settled[i] != nil {
			continue
		}
		own := b.x.holder(i)
		switch {
		case own == nil:
			b.x.addLetter(i, k.letter(nowhere, 0))
		case own.odd[i-own.base] != wal.Dead: // it met its later fate; that it is gone was not written any more
		case b.damaged[i]:
			b.x.addLetter(i, k.letter(own.number, 0))
		default:
			b.x.addLetter(i, k.letter(own.number, own.number))
		}
	}
}

// countLostLetters counts the dead letters of released generations that neither journal nor file hold any more as damaged.
func (b *Builder) countLostLetters() {
	var held uint64
	for i := range b.x.letters {
		if b.x.holder(i) == nil {
			held++
		}
	}
	for ; b.x.released.Dead > held; b.x.released.Dead-- {
		b.x.released.Damaged++
	}
}

// Strays returns the writes whose fate was applied without knowing whose they were, by their generation.
func (b *Builder) Strays() map[uint64][]uint64 {
	out := map[uint64][]uint64{}
	for _, i := range b.x.strays {
		if g := b.x.holder(i); g != nil {
			out[g.number] = append(out[g.number], i)
		}
	}
	return out
}

// Attribute tells whose one of the Strays was.
func (b *Builder) Attribute(id wal.SessionID) { b.x.sessions[id].settled(wal.Delivered) }
