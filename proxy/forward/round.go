package forward

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

const (
	// loadAtOnce is how many records are loaded, at most, before their bytes are counted.
	loadAtOnce = 32
	// usualSize is how large records are taken to be before the first was seen, in bytes.
	usualSize = 4096
)

// A round is what is taken at once: loaded, sent, judged.
type round struct {
	items   []item // in the order they were taken
	groups  []group
	back    []queue.Ref // what goes back to the queue
	misses  []miss
	indexes []uint64
	loaded  int // bytes
	mean    int // size of the last records, in bytes; outlives the round

	// What the answers come to.
	sent, succeeded, refused, failed int
	took                             time.Duration
	outage                           error // why the store failed as a whole
	stopping                         bool  // the grace period is over: what is not answered says nothing
	trouble                          bool  // the journal or the ledger failed
	heldBack                         map[wal.SessionID]bool
}

// A group is the records of one Put. All of a session are in the same one.
type group struct {
	batch    []wal.Record
	bytes    int
	full     bool
	errs     []error
	timedOut bool
}

// nowhere is the group of an item that is not sent.
const nowhere = -1

// An item is one record of a round.
type item struct {
	ref   queue.Ref
	rec   wal.Record
	group int // its Put, or nowhere
	place int // in the batch of its group
	fate  fate
	err   error // the store's answer, or why the journal cannot read it
}

// fate says what is to be done with an item.
type fate uint8

const (
	undecided fate = iota // ask the store
	condemned             // the store has refused it before; the sink could not take it
	damaged               // the journal cannot read it
	gone                  // the journal has given its space back: it was settled by someone else
)

func newRound(parallel int) round {
	return round{mean: usualSize, groups: make([]group, parallel), heldBack: make(map[wal.SessionID]bool)}
}

// deliver brings the references one step further: each is reported, or with the lot or the queue again.
func (f *Forwarder) deliver(life context.Context, refs []queue.Ref) {
	start := time.Now()
	f.admit(refs)
	f.board.begin(f.round.items)
	f.put(life)
	f.judge()
	settled := f.board.finish()
	f.steer(time.Now(), settled, time.Since(start))
	f.round.clear()
}

// admit loads the records and divides them into groups; what does not fit goes back to the queue. It loads little more
// than the groups can hold, however large the records are.
func (f *Forwarder) admit(refs []queue.Ref) {
	r := &f.round
	for limit := f.cfg.BatchBytes * f.cfg.Parallel; len(refs) > 0 && r.loaded < limit; {
		n := min(loadAtOnce, len(refs), (limit-r.loaded)/r.mean+1)
		from := len(r.items)
		loaded, err := f.load(refs[:n], r.items)
		r.items = loaded[:from]
		for i := from; i < len(loaded); i++ {
			f.place(loaded[i])
		}
		clear(loaded[len(r.items):])
		refs = refs[len(loaded)-from:]
		if err != nil {
			f.ownFailure("journal", fmt.Errorf("read back: %w", err))
			break
		}
	}
	f.queue.Return(append(r.back, refs...))
	r.back = r.back[:0]
}

// place decides where an item goes: behind a trial, back to the queue, or into the round.
func (f *Forwarder) place(it item) {
	if it.fate == gone {
		f.log.Warn("a waiting record is no longer in the journal: settled by someone else", "index", it.ref.Index)
		f.finish(it.ref)
		return
	}
	r := &f.round
	size := len(it.rec.Payload) + len(it.rec.ID) + len(it.rec.Space)
	r.loaded += size
	r.mean = max(1, (15*r.mean+size)/16)
	if f.lot.block(it.ref, it.rec.Session) {
		return
	}
	n := groupOf(&it.rec, len(r.groups))
	g := &r.groups[n]
	if len(g.batch) >= f.cfg.BatchItems || (len(g.batch) > 0 && g.bytes+size > f.cfg.BatchBytes) {
		g.full = true // for the smaller ones behind it too: one may be of the same session
	}
	if g.full {
		r.back = append(r.back, it.ref)
		return
	}
	if t := f.lot.find(it.ref.Index); t != nil && t.verdict != "" && it.fate == undecided {
		it.fate = condemned
	}
	if it.fate == undecided {
		it.group, it.place = n, len(g.batch)
		g.batch = append(g.batch, it.rec)
		g.bytes += size
	}
	r.items = append(r.items, it)
}

func groupOf(r *wal.Record, groups int) int {
	if r.Session.IsZero() {
		return int(r.Index&0xff) % groups
	}
	return int(r.Session[len(r.Session)-1]) % groups
}

// put sends the groups, side by side, and notes the answers.
func (f *Forwarder) put(life context.Context) {
	r := &f.round
	start := time.Now()
	var wg sync.WaitGroup
	var last *group
	for i := range r.groups {
		if g := &r.groups[i]; len(g.batch) > 0 {
			if last != nil {
				g := last
				wg.Go(func() { f.putGroup(life, g) }) // ends within PutTimeout or the grace period; awaited below
			}
			last = g
		}
	}
	if last != nil {
		f.putGroup(life, last)
	}
	wg.Wait()
	r.took, r.stopping = time.Since(start), life.Err() != nil
	r.weigh()
}

func (f *Forwarder) putGroup(life context.Context, g *group) {
	ctx, cancel := context.WithTimeout(life, f.cfg.PutTimeout)
	defer cancel()
	g.errs = f.store.Put(ctx, g.batch)
	g.timedOut = ctx.Err() != nil
	if len(g.errs) != len(g.batch) {
		err := store.Unavailable(fmt.Errorf("the store gave %d answers to %d records", len(g.errs), len(g.batch)))
		g.errs = make([]error, len(g.batch))
		for i := range g.errs {
			g.errs[i] = err
		}
	}
}

// weigh gives each item its answer and counts them, before any is acted upon: what one failure means depends on whether
// others succeeded.
func (r *round) weigh() {
	for i := range r.items {
		it := &r.items[i]
		if it.group == nowhere {
			continue
		}
		g := &r.groups[it.group]
		it.err = g.errs[it.place]
		r.sent++
		switch class := store.ClassOf(it.err); {
		case class == store.ClassNone:
			r.succeeded++
		case class == store.ClassPermanent:
			r.refused++
		case class == store.ClassTransient && !g.timedOut:
			r.failed++
		case r.outage == nil:
			r.outage = it.err
		}
	}
}

// clear forgets the round but keeps its memory; payloads must not be held alive.
func (r *round) clear() {
	clear(r.items)
	clear(r.heldBack)
	for i := range r.groups {
		g := &r.groups[i]
		clear(g.batch)
		*g = group{batch: g.batch[:0]}
	}
	*r = round{
		items: r.items[:0], groups: r.groups, back: r.back[:0], misses: r.misses[:0], indexes: r.indexes[:0],
		heldBack: r.heldBack, mean: r.mean,
	}
}
