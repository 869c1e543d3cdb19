package wal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Journal is the write-ahead log of one data directory. Its methods may be called concurrently, but for those of one
// Producer. Open begins its two goroutines, the committer and the keeper; Close waits for both.
type Journal struct {
	cfg     Config
	journal [16]byte
	log     hclog.Logger

	mu       sync.Mutex // guards what follows, and the batch that is being filled
	room     *sync.Cond // signalled when a batch has been taken, or the state has changed
	filling  *batch
	writing  int             // bytes of the batch that the committer writes
	index    uint64          // the next record's
	number   uint64          // the next batch's
	accepted uint64          // writes in all batches before filling
	released Tally           // of the generations whose released record was appended
	leaving  map[uint64]bool // those of them that are still in the table
	state    error           // nil, ErrFull (until there is room), ErrFailed or ErrClosed, each wrapped
	scratch  []byte
	space    space

	gens struct { // the table of generations, ascending; where both locks are held, mu was taken first
		sync.RWMutex
		table []*generation
	}

	work      chan struct{} // cap 1: filling holds records, or the state has changed
	stock     *stock        // generations that the keeper has made ready
	stop      chan struct{} // closed by Close
	failed    chan struct{} // closed at the first storage failure
	ended     chan struct{} // closed by the committer when it ends; the keeper ends then
	stopOnce  sync.Once
	failOnce  sync.Once
	done      sync.WaitGroup
	producers sync.Pool // for Write: producers that have nothing under way

	commit  Commit // the committer's, handed to OnCommit
	syncs   atomic.Uint64
	durable atomic.Uint64 // the highest durable index
}

// Open begins a fresh generation after those of earlier runs, which stay as they are: no file that a crash may have left
// half written is ever appended to. What the last run may have left in the page cache alone is made durable first. On a
// full disk the journal opens all the same, refuses records, and takes them when there is room.
func Open(cfg Config, at Position) (*Journal, error) {
	cfg = cfg.withDefaults()
	j, err := newJournal(cfg, &at)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	first, err := prepareGenerations(cfg.Dir, at.Journal, at.Generation, 1, j.space.ownRoom())
	next, cur := at.Generation+1, (*generation)(nil)
	switch {
	case err == nil:
		cur = first[0]
		j.beginGeneration(j.filling, at.Generation, 0)
	case isNoRoom(err):
		j.state, next = noRoomError(err), at.Generation
	default:
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	j.done.Go(func() { j.keep(next) })
	j.done.Go(func() { j.commitLoop(cur) })
	return j, nil
}

// newJournal makes a journal that has the generations of earlier runs in its table and no goroutine yet.
func newJournal(cfg Config, at *Position) (*Journal, error) {
	if err := errors.Join(cfg.Validate(), at.validate()); err != nil {
		return nil, err
	}
	j := &Journal{
		cfg: cfg, journal: at.Journal, log: cfg.Logger, filling: &batch{},
		index: at.Index, number: at.Batch, accepted: at.Accepted, released: at.Released, leaving: map[uint64]bool{},
		work: make(chan struct{}, 1), stock: newStock(),
		stop: make(chan struct{}), failed: make(chan struct{}), ended: make(chan struct{}),
	}
	j.room = sync.NewCond(&j.mu)
	j.producers.New = func() any { return j.NewProducer() }
	j.durable.Store(at.Index - 1)
	var newest *Scanned // that holds a record: the generations before it were synced before it was begun
	follows := uint64(1)
	for _, s := range at.Generations {
		g := scannedGeneration(s, at.Journal, follows)
		j.gens.table = append(j.gens.table, g)
		j.space.used += g.bytes
		follows = g.next()
		if s.Records > 0 {
			newest = s
		}
	}
	if newest != nil {
		if err := harden(newest); err != nil {
			return nil, err
		}
	}
	return j, j.measure()
}

// append encodes r into the batch that is being filled. It returns when r has its index; the committer makes it durable.
// What must stand or fall with r in the heads of later generations is done by with, under the same lock; where with
// returns an error, so does append, and keeps nothing.
func (j *Journal) append(p *Producer, r *Record, with func() error) error {
	if err := checkRecord(r); err != nil {
		return err
	}
	sum := checksum(r.Payload)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.appendLocked(p, r, sum, with); err != nil {
		return err
	}
	j.signalWork()
	return nil
}

// appendAll does so for several, and lets the committer see them only when all are there.
func (j *Journal) appendAll(p *Producer, records []Record) error {
	sums := make([]uint32, len(records))
	for i := range records {
		if err := checkRecord(&records[i]); err != nil {
			return err
		}
		sums[i] = checksum(records[i].Payload)
	}
	defer j.signalWork() // not before all are there: it would wake the committer only to wait for the lock
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range records {
		if err := j.appendLocked(p, &records[i], sums[i], nil); err != nil {
			return err
		}
	}
	return nil
}

// appendLocked is append with Journal.mu held. The committer is told by the caller, but for where it must make room.
func (j *Journal) appendLocked(p *Producer, r *Record, sum uint32, with func() error) error {
	size := entrySize(frameSize(r))
	for j.state == nil && !j.filling.empty() && j.filling.bytes+size > j.cfg.BatchBytes {
		j.signalWork()
		j.room.Wait()
	}
	if err := j.refusal(p, r.Kind, int64(size)); err != nil {
		return err
	}
	if with != nil {
		if err := with(); err != nil {
			return err
		}
	}
	if r.Time == 0 {
		r.Time = time.Now().UnixNano()
	}
	r.Index, r.Batch = j.index, j.filling.number
	j.index++
	if r.Kind == KindWrite {
		j.filling.writes++
	}
	j.scratch = j.filling.add(j.scratch[:0], p, r, sum)
	j.space.appended(int64(size))
	return nil
}

// refusal is why a record of size bytes cannot be taken now, or nil. Journal.mu is held.
func (j *Journal) refusal(p *Producer, k Kind, size int64) error {
	switch {
	case j.state != nil && !errors.Is(j.state, ErrFull):
		return j.state
	case p.refused != nil: // before ErrFull, which would mean that this record alone was refused
		return fmt.Errorf("%w: %w", ErrRefused, p.refused)
	case j.state != nil:
		return j.state
	default:
		return j.space.admit(k, size)
	}
}

func (j *Journal) signalWork() {
	select {
	case j.work <- struct{}{}:
	default:
	}
}

// Write appends one record and returns when it is durable, with the time of its commit. Where ctx ends first the record
// may still become durable.
func (j *Journal) Write(ctx context.Context, r *Record) (time.Time, error) {
	return j.write(ctx, r, nil)
}

func (j *Journal) write(ctx context.Context, r *Record, with func() error) (time.Time, error) {
	p := j.producers.Get().(*Producer) //nolint:errcheck,forcetypeassert // nothing else is ever put there
	if err := j.append(p, r, with); err != nil {
		j.producers.Put(p)
		return time.Time{}, err
	}
	at, err := p.Wait(ctx, r.Index)
	if err == nil {
		j.producers.Put(p) // else something of it may still be under way: it is left to the collector
	}
	return at, err
}

// Failed is closed at the first write or fsync that leaves no certainty; Err tells which. The process must end then:
// nothing that this journal says after it can be relied on, and its next start recovers.
func (j *Journal) Failed() <-chan struct{} { return j.failed }

// Err is why the journal takes no records now: nil, or an error that wraps ErrFull, ErrFailed or ErrClosed.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state
}

// Identity is the data directory's own: indexes compare within one journal and with no other's.
func (j *Journal) Identity() [16]byte { return j.journal }

// Durable is the highest index that is durable.
func (j *Journal) Durable() uint64 { return j.durable.Load() }

// fail ends the journal for good. Every waiter gets the error, now and later.
func (j *Journal) fail(err error) {
	j.mu.Lock()
	if !errors.Is(j.state, ErrFailed) {
		j.state = fmt.Errorf("%w: %w: the process must end; what was acknowledged is recovered at the next start", ErrFailed, err)
		j.filling.refuse(j.state)
	}
	j.room.Broadcast()
	j.mu.Unlock()
	j.failOnce.Do(func() { close(j.failed) })
	j.signalWork()
}

// Close takes no more records, makes durable what was appended before, and waits for the journal's goroutines. What was
// made durable stays readable; a failed journal is closed without a further call on its file, and Close says why it
// failed. It may be called again, and by several.
func (j *Journal) Close() error {
	j.stopOnce.Do(func() {
		j.mu.Lock()
		if j.state == nil || errors.Is(j.state, ErrFull) {
			j.state = fmt.Errorf("%w: start again to go on", ErrClosed)
		}
		j.room.Broadcast()
		j.mu.Unlock()
		close(j.stop)
		j.signalWork()
	})
	j.done.Wait()
	if err := j.Err(); !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}
