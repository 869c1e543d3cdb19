package embedded

import (
	"context"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// A pass goes through the vectors of one space, and compares each with the cues of all searches that share it. To bring a
// vector or its sketch from memory takes longer than to compare it, so that four cues at once take about half of what they take
// one after the other.
//
// While one pass of a space runs, those that come wait, and share the next. Whoever waits for a pass is ready to lead it:
// where the leader's context ends, another goes on at the chunk where it stopped. So nobody waits for somebody else's
// context, and no goroutine outlives its call.
type pass struct {
	store    *Store
	searches []*search
	view     view // the longest among theirs
	workers  int

	next atomic.Int64  // the first row that nobody has taken yet
	lead chan struct{} // holds the token of its leader
	done chan struct{} // closed when all rows were looked at, or everybody has left
	prev chan struct{} // done of the pass before; nil for none

	mu      sync.Mutex // guards found of the searches
	begun   bool       // guarded by passes.mu: nobody may join any more
	members int        // guarded by passes.mu
}

// maxShared bounds how many searches share a pass: so many cues, 3 KiB each, stay in a processor's own cache.
const maxShared = 32

// rowList names a list of rows: two views of the same one are equal as far as the shorter reaches.
type rowList struct {
	space  *space
	sweeps int
}

// passes are the newest passes of each list.
type passes struct {
	mu     sync.Mutex
	newest map[rowList]*pass
	count  atomic.Int64 // passes that were run, for tests and benchmarks
}

// join has a search be part of the next pass, and returns when its answer is known.
func (p *passes) join(ctx context.Context, q *search) error {
	mine := p.enlist(q)
	defer p.leave(mine, q)
	prev := mine.prev
	for {
		lead := mine.lead
		if prev != nil {
			lead = nil // not yet
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-prev: // never, where it is nil
			prev = nil
		case <-mine.done:
			return nil
		case <-lead:
			err := p.goOn(ctx, mine)
			mine.lead <- struct{}{}
			if err != nil {
				return err
			}
		}
	}
}

// enlist puts a search into the pass that waits, or into a new one.
func (p *passes) enlist(q *search) *pass {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.newest == nil {
		p.newest = map[rowList]*pass{}
	}
	last := p.newest[q.view.list]
	if last == nil || last.begun || len(last.searches) == maxShared {
		next := &pass{store: q.store, workers: q.store.cfg.Workers, lead: make(chan struct{}, 1), done: make(chan struct{})}
		next.lead <- struct{}{}
		if last != nil {
			next.prev = last.done
		}
		p.newest[q.view.list], last = next, next
	}
	last.members++
	last.searches = append(last.searches, q)
	if len(q.view.rows) >= len(last.view.rows) {
		last.view = q.view
	}
	return last
}

// goOn leads a pass, until its end or that of ctx. The caller has its token.
func (p *passes) goOn(ctx context.Context, mine *pass) error {
	p.mu.Lock()
	over := mine.over()
	if !mine.begun {
		mine.begun = true
		p.count.Add(1)
	}
	p.mu.Unlock()
	if over { // and the others may be reading what it has found
		return nil
	}
	if err := mine.run(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(mine)
	return nil
}

// leave takes a search out of its pass. The last one to leave ends it, whatever it has come to.
func (p *passes) leave(mine *pass, q *search) {
	q.left.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	if mine.members--; mine.members == 0 {
		p.end(mine)
	}
}

// end needs mu.
func (p *passes) end(mine *pass) {
	if mine.over() {
		return
	}
	mine.begun = true
	close(mine.done)
	if list := mine.view.list; p.newest[list] == mine {
		delete(p.newest, list)
	}
}

func (p *pass) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// run compares all rows that are left, with as many threads as the store allows. It returns nil when none is left, and
// otherwise the error of ctx; what was found until then is kept.
func (p *pass) run(ctx context.Context) error {
	for _, q := range p.searches {
		sketchQuery(&q.sketched, q.unit)
	}
	chunks := (len(p.view.rows) - int(p.next.Load()) + chunkRows - 1) / chunkRows
	var others sync.WaitGroup // waited for below
	for range min(p.workers, chunks) - 1 {
		others.Go(func() { p.work(ctx) })
	}
	p.work(ctx)
	others.Wait()
	if int(p.next.Load()) < len(p.view.rows) {
		return ctx.Err()
	}
	return nil
}

// work takes chunks until there are no more, or ctx ends.
func (p *pass) work(ctx context.Context) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	w := p.newWorker()
	for ctx.Err() == nil {
		start := int(p.next.Add(chunkRows)) - chunkRows
		if start >= len(p.view.rows) {
			break
		}
		w.chunk(start, min(start+chunkRows, len(p.view.rows)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, q := range p.searches {
		q.found.add(&w.results[i])
	}
}

// sees says whether a row of the longest view belongs to what the search was to see.
func (q *search) sees(number uint32, position, place int) bool {
	if position >= len(q.view.rows) || q.left.Load() {
		return false
	}
	seg := &q.view.segments[q.view.layout.segmentOf(number)]
	return !seg.dead.has(place) && (q.before == math.MaxInt64 || seg.rows[place].at < q.before)
}

// verify compares a vector with its checksum, the first time since the start that someone looks at it.
func (p *pass) verify(seg *segmentView, place int) bool {
	if !seg.vectorMatches(place) {
		p.store.markDamaged(seg.segment, place, errVector)
		return false
	}
	seg.verified.add(place)
	return true
}
