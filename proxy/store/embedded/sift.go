package embedded

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// worker is one thread of a pass. It looks through a chunk by the sketches first, and then at the vectors of those rows that
// can still be among the best; a row without a sketch is compared by its vector at once, and gets one on the way.
type worker struct {
	pass     *pass
	sifts    bool
	results  []found    // by search
	products []product  // of one row's sketch, in use again for the next row
	likely   [][]likely // rows of this chunk that can be among the best, by search
	unsure   [][]likely // that cannot, and may reach the threshold or not
	sketcher sketcher
}

// product is that of a row's sketch with the cue of a search that sees the row.
type product struct {
	search int
	value  int32
}

// likely is a row whose vector has to be looked at.
type likely struct {
	row     uint32
	upper   float32 // its cosine is at most this
	counted bool    // it reaches the threshold in any case
}

func (p *pass) newWorker() *worker {
	n := len(p.searches)
	w := &worker{
		pass: p, sifts: len(p.view.rows) >= p.store.cfg.sketchFrom, results: make([]found, n), products: make([]product, 0, n),
		likely: make([][]likely, n), unsure: make([][]likely, n), sketcher: sketcher{store: p.store},
	}
	for i, q := range p.searches {
		w.results[i].top.k = q.k
	}
	return w
}

// chunk compares rows start to end of the view.
func (w *worker) chunk(start, end int) {
	for start < end {
		start += w.compare(start, end)
	}
	for i := range w.likely {
		q, f := w.pass.searches[i], &w.results[i]
		slices.SortFunc(w.likely[i], func(a, b likely) int { return cmp.Compare(b.upper, a.upper) }) // the bar rises soonest
		for _, rest := range [][]likely{w.likely[i], w.unsure[i]} {
			for len(rest) > 0 {
				rest = rest[w.judge(q, rest, f):]
			}
		}
		w.likely[i], w.unsure[i] = w.likely[i][:0], w.unsure[i][:0]
	}
	w.sketcher.flush()
}

// compare looks at rows one after the other, and returns how many it is done with: all, or those before one whose sketch
// could not be read where it is mapped, or up to and with one whose vector could not.
func (w *worker) compare(start, end int) (done int) {
	p := w.pass
	rows := p.view.rows[start:end]
	defer func() {
		if e := recover(); e != nil && !w.withoutSketches(rows[done], e) {
			w.damaged(rows[done], e)
			done++
		}
	}()
	for ; done < len(rows); done++ {
		seg, place := p.view.at(rows[done])
		if seg.damaged.has(place) || (w.sifts && w.sift(seg, place, start+done)) {
			continue
		}
		for i, q := range p.searches {
			if !q.sees(rows[done], start+done, place) {
				continue
			}
			if !seg.verified.has(place) && !p.verify(seg, place) {
				break
			}
			q.look(seg, place, rows[done], &w.results[i])
		}
	}
	return done
}

// sift looks at a row's sketch. It returns false where there is none yet.
func (w *worker) sift(seg *segmentView, place, position int) bool {
	sk := seg.sketches.Load()
	if !sk.has(place) && !w.sketch(seg, place) {
		return false
	}
	sk = seg.sketches.Load()
	number := w.pass.view.rows[position]
	// All that may fault comes first: a row must not be counted twice.
	raw := sk.raw(place)
	factor := math.Float32frombits(binary.LittleEndian.Uint32(raw[sketchFactor:]))
	off := math.Float32frombits(binary.LittleEndian.Uint32(raw[sketchErr:]))
	if off <= 0 { // no sketch says so: the file was cut, and ends in this page
		w.pass.store.loseSketches(sk, errShort)
		return false
	}
	products := w.products[:0]
	for i, q := range w.pass.searches {
		if q.sees(number, position, place) {
			products = append(products, product{i, sk.product(place, &q.sketched)})
		}
	}
	for _, p := range products {
		i, q, f := p.search, w.pass.searches[p.search], &w.results[p.search]
		switch l := q.sift(number, p.value, factor, off, f); {
		case f.top.wants(candidate{score: l.upper}) && l.upper >= q.threshold:
			w.likely[i] = append(w.likely[i], l)
		case q.counts(&l):
			w.unsure[i] = append(w.unsure[i], l)
		}
	}
	return true
}

// sketch finds the sketch of a row that is looked at for the first time, and returns true; or makes one for the next time.
func (w *worker) sketch(seg *segmentView, place int) bool {
	if seg.rows[place].scale <= 0 || seg.dead.has(place) {
		return false
	}
	if w.sketcher.find(seg.segment, place) {
		return true
	}
	if seg.verified.has(place) || w.pass.verify(seg, place) {
		w.sketcher.add(seg.segment, place)
	}
	return false
}

// sift counts a row by its sketch, as far as that can tell.
func (q *search) sift(number uint32, product int32, factor, off float32, f *found) likely {
	lower, upper := q.sketched.bounds(product, factor, off)
	if upper < -1 {
		upper = -1 // the least that a score can be
	}
	l := likely{row: number, upper: upper, counted: lower >= q.threshold || q.threshold <= -1}
	f.considered++
	if l.counted {
		f.above++
	}
	return l
}

// counts says that only the vector can tell whether the row reaches the threshold, and somebody wants to know.
func (q *search) counts(l *likely) bool {
	return !l.counted && l.upper >= q.threshold && q.meets == nil
}

// judge compares vectors with the cue, and returns how many rows it is done with.
func (w *worker) judge(q *search, rows []likely, f *found) (done int) {
	defer func() {
		if e := recover(); e != nil {
			w.damaged(rows[done].row, e)
			f.forget(&rows[done])
			done++
		}
	}()
	for ; done < len(rows); done++ {
		l := &rows[done]
		if !f.top.wants(candidate{score: l.upper}) && !q.counts(l) {
			continue
		}
		seg, place := w.pass.view.at(l.row)
		if seg.damaged.has(place) || (!seg.verified.has(place) && !w.pass.verify(seg, place)) {
			f.forget(l)
			continue
		}
		q.judge(seg, place, l.row, f, !l.counted)
	}
	return done
}

// forget takes a row back that turned out to be damaged.
func (f *found) forget(l *likely) {
	f.considered--
	if l.counted {
		f.above--
	}
}

// withoutSketches says that a fault lay in a segment's sketches, which are not looked at again then.
func (w *worker) withoutSketches(number uint32, e any) bool {
	seg, _ := w.pass.view.at(number)
	sk := seg.sketches.Load()
	fault, ok := e.(interface{ Addr() uintptr })
	if !isFault(e) || !ok || sk == nil || !sk.covers(fault.Addr()) {
		return false
	}
	w.pass.store.loseSketches(sk, fmt.Errorf("%w: %v", errFault, e))
	return true
}

// damaged marks a row whose vector could not be read where it is mapped. What is no fault goes on as the panic it is.
func (w *worker) damaged(number uint32, e any) {
	if !isFault(e) {
		panic(e)
	}
	seg, place := w.pass.view.at(number)
	w.pass.store.markDamaged(seg.segment, place, fmt.Errorf("%w: %v", errFault, e))
}
