package ledger

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Reader calls visit for each whole record of a generation, in order; the record is valid during the call only.
type Reader func(generation uint64, visit func(*wal.Record) error) error

// Build makes the ledger of all that was applied, and brings its file up to date. A file that could not be used is set
// aside as ledger.db.damaged (the last one is kept) and a new one is made; the dead letters that the journal carries are
// then read again, a bounded number at a time.
//
// An error that wraps ErrDamaged means that the file was found damaged only now and was set aside: to load and build again
// builds from the journal alone.
func (b *Builder) Build(read Reader) (*Ledger, error) {
	d, err := b.openFile()
	if err != nil {
		return nil, err
	}
	l := &Ledger{
		log: b.log, x: b.x, disk: d, newest: b.Past().Newest, durable: b.Past().Durable, written: b.Past().Durable,
		unwritten: map[uint64]*Letter{}, gone: b.stale(), kick: make(chan struct{}, 1),
	}
	if n := len(l.x.gens); n > 0 { // recovery has made durable what it read
		l.durable = max(l.durable, l.x.gens[n-1].last)
	}
	l.x.known, l.x.strays = nil, nil
	err = b.fill(l, read)
	if err == nil {
		err = l.tolerate(l.Flush()) // a disk that is full keeps nobody from draining what is on it
	}
	if err == nil {
		return l, nil
	}
	err = errors.Join(fmt.Errorf("write the ledger: %w", err), l.disk.close())
	if errors.Is(err, ErrDamaged) {
		err = errors.Join(err, b.setAside())
	}
	return nil, err
}

func (b *Builder) openFile() (*disk, error) {
	if b.lost == nil {
		d, err := openDisk(b.path, b.log)
		if errors.Is(err, ErrDamaged) {
			err = errors.Join(err, b.setAside())
		}
		return d, err
	}
	if err := b.setAside(); err != nil {
		return nil, err
	}
	return createDisk(b.path, b.journal)
}

func (b *Builder) setAside() error {
	if err := os.Rename(b.path, b.path+".damaged"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set the damaged ledger aside: %w", err)
	}
	return nil
}

// fill reads the dead letters that the file does not hold out of the journal, and writes them in portions.
func (b *Builder) fill(l *Ledger, read Reader) error {
	for generation, indexes := range b.late {
		slices.Sort(indexes)
		err := read(generation, func(r *wal.Record) error {
			if r.Kind != wal.KindCarriedLetter {
				return nil
			}
			letter, err := letterOf(r)
			if err != nil {
				return err
			}
			if _, wanted := slices.BinarySearch(indexes, letter.Index); !wanted || l.x.letters[letter.Index] == nil {
				return nil
			}
			if l.waiting >= maxUnwritten {
				if err := l.Flush(); err != nil {
					return err
				}
			}
			letter.own()
			l.keep(letter)
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the dead letters of generation %d: %w", generation, err)
		}
	}
	return nil
}

// stale is what the file holds of things that are gone.
func (b *Builder) stale() gone {
	g := newGone()
	if b.known == nil {
		return g
	}
	for n := range b.known.gens {
		if b.x.generation(n) == nil && !b.missed[n] {
			g.gens[n] = true
		}
	}
	for _, s := range b.known.sessions {
		if b.x.sessions[s.ID] == nil {
			g.sessions[s.ID] = true
		}
	}
	for i := range b.known.letters {
		if b.x.letters[i] == nil {
			g.letters[i] = true
		}
	}
	return g
}
