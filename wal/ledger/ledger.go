package ledger

import (
	"errors"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// What the ledger can refuse. Test with errors.Is.
var (
	// ErrDamaged means that the file is not what was written. It is set aside and built anew from the journal.
	ErrDamaged = errors.New("ledger damaged")
	// ErrBusy refuses a dead letter while those before it cannot be written down: keep it, and bring it again later.
	ErrBusy = errors.New("dead letters are waiting for the disk")
	// ErrTooMany refuses a dead letter while there are as many as Limits allow: keep it, and bring it again later.
	ErrTooMany = errors.New("too many dead letters")
	// ErrNoLetter means that no dead letter has the index.
	ErrNoLetter = errors.New("no such dead letter")
)

// FileName is the ledger's file in the data directory.
const FileName = "ledger.db"

// maxUnwritten bounds the dead letters in memory, in bytes, that wait to be written to the file.
const maxUnwritten = 16 << 20

// Ledger is the account of the journal: what became of each write, which sessions there are, which letters are dead. What
// it says is in memory; its file is written in the background and may be lost. Its methods may be called concurrently, but
// Run once only, and Close after Run has returned. Builder.Build makes one.
//
// Locks are taken in the order moving, writing, mu.
type Ledger struct {
	log hclog.Logger

	// moving is held while a generation is released and while a dead letter meets a later fate, each with the record that
	// tells it: what is carried forward must not be settled meanwhile, and a tally must not change while it is written.
	moving  sync.Mutex
	writing sync.Mutex // held by Flush, so that an older state of anything never overwrites a newer one

	mu        sync.Mutex // guards what follows
	x         *index
	unwritten map[uint64]*Letter // dead letters that are not in the file yet
	waiting   int64              // their size
	limits    Limits
	gone      gone          // what is to be taken out of the file
	newest    uint64        // the highest number of a generation, ever
	durable   uint64        // the highest index that the journal has told of
	written   uint64        // durable, as the file has it
	changed   chan struct{} // closed when something is settled, nil while nobody waits for that
	full      bool          // the disk has no room, and that has been logged

	disk *disk
	kick chan struct{} // cap 1: the keeper has something to do
}

// gone is what the file may hold and must not any more.
type gone struct {
	gens     map[uint64]bool
	sessions map[wal.SessionID]bool
	letters  map[uint64]bool
}

func newGone() gone {
	return gone{gens: map[uint64]bool{}, sessions: map[wal.SessionID]bool{}, letters: map[uint64]bool{}}
}

func (g gone) empty() bool { return len(g.gens) == 0 && len(g.sessions) == 0 && len(g.letters) == 0 }

// Close closes the file. What was not flushed is delivered again after the next start.
func (l *Ledger) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.disk.close()
}

// notify wakes the keeper.
func (l *Ledger) notify() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// tellChange wakes whoever waits for a settlement. l.mu is held.
func (l *Ledger) tellChange() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}
