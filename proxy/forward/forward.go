package forward

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Forwarder is the dispatcher between the queue and one store.
type Forwarder struct {
	cfg    Config
	queue  *queue.Queue
	cache  *queue.Cache[wal.Record] // may be nil
	store  Store
	source Source
	sink   Sink
	log    hclog.Logger

	// What other goroutines may look at; each guards itself.
	lot     *lot
	pace    *pace
	meter   meter
	breaker breaker // the store's failures
	hold    breaker // our own: the journal cannot be read, the ledger cannot be written
	board   board

	// What follows belongs to the goroutine of Run.
	round     round
	refs      []queue.Ref
	successes int // records delivered, ever
	suspects  int // different records that failed since the last success
	openings  sparse
	deaths    sparse
	troubles  sparse
}

// New makes a Forwarder that does nothing until Run. The error is about cfg, in the operator's terms, or a missing part.
func New(cfg Config, deps Deps) (*Forwarder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := deps.validate(); err != nil {
		return nil, err
	}
	if deps.Logger == nil {
		deps.Logger = hclog.NewNullLogger()
	}
	cfg = cfg.withDefaults()
	return &Forwarder{
		cfg: cfg, queue: deps.Queue, cache: deps.Cache, store: deps.Store, source: deps.Source, sink: deps.Sink,
		log:     deps.Logger,
		lot:     newLot(),
		pace:    newPace(cfg.Flight, cfg.BatchItems*cfg.Parallel),
		breaker: breaker{least: cfg.BackoffMin, most: cfg.BackoffMax},
		hold:    breaker{least: cfg.BackoffMin, most: cfg.BackoffMax},
		round:   newRound(cfg.Parallel),
	}, nil
}

// Run delivers until ctx ends or the queue is closed. Then it waits for the Put in flight, at most for Config.Grace,
// reports what it answered, and returns nil. What is left is in the journal. Run may be called once.
func (f *Forwarder) Run(ctx context.Context) error {
	life, end := f.graceful(ctx)
	defer end()
	for {
		if !f.pause(ctx) {
			return nil
		}
		if f.rebury(life) || f.probeBehind(life) {
			continue
		}
		f.release(time.Now())
		refs, err := f.take(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, queue.ErrClosed):
			f.queue.Return(refs)
			return nil
		case err != nil: // nothing came until the next trial is due
			continue
		}
		f.deliver(life, refs)
	}
}

// graceful returns a context that outlives ctx by the grace period, and a function that ends it and waits for its
// goroutine.
func (f *Forwarder) graceful(ctx context.Context) (context.Context, func()) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { // ends with life at the latest; the returned function waits for it
		select {
		case <-ctx.Done():
			if wait(life, f.cfg.Grace) {
				cancel()
			}
		case <-life.Done():
		}
	})
	return life, func() {
		cancel()
		wg.Wait()
	}
}

// wait returns after d, true, or when ctx ends, false.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// pause waits while a breaker is open. It returns false when ctx ended.
func (f *Forwarder) pause(ctx context.Context) bool {
	for {
		now := time.Now()
		d := max(f.breaker.wait(now), f.hold.wait(now))
		if d <= 0 {
			return ctx.Err() == nil
		}
		if !wait(ctx, d) {
			return false
		}
	}
}

// release sends the trials that are due back to the queue. While the breaker is not closed it sends only one, and only
// when nothing else is there to probe with: a few records that always fail must not be all that a store is ever asked.
func (f *Forwarder) release(now time.Time) {
	switch {
	case f.breaker.current() == Closed:
		f.queue.Return(f.lot.takeDue(now, math.MaxInt))
	case f.queue.Waiting() == 0:
		f.queue.Return(f.lot.takeDue(now, 1))
	}
}

// take waits for references, as many as may be in flight. It gives up when a trial is due that should be released.
func (f *Forwarder) take(ctx context.Context) ([]queue.Ref, error) {
	limit, closed := 1, f.breaker.current() == Closed // one is the probe
	if closed {
		limit = f.pace.next()
	}
	if due, ok := f.lot.nextDue(); ok && (closed || f.queue.Waiting() == 0) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, due)
		defer cancel()
	}
	refs, err := f.queue.Take(ctx, limit, f.refs[:0])
	f.refs = refs
	return refs, err
}

// finish takes a reported record off all books, and sends what waited behind it back to the queue.
func (f *Forwarder) finish(ref queue.Ref) {
	f.queue.Done(ref.Lane, 1)
	if f.cache != nil {
		f.cache.Drop(ref.Index)
	}
	behind := f.lot.end(ref.Index)
	for i := len(behind) - 1; i >= 0; i-- {
		s := behind[i]
		f.queue.ReturnRun(int(s.lane), s.first, s.first+uint64(s.count)-1, time.Unix(s.at, 0))
	}
}
