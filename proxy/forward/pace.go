package forward

import (
	"sync"
	"time"
)

const (
	startWindow = 64
	// paceMemory is how much of what was learnt a new Put leaves: about the last 20 count.
	paceMemory = 0.95
	// paceOrigin is the share of the belief that no records take no time. It settles what one size of Put cannot tell, and
	// gives way as soon as two sizes disagree with it.
	paceOrigin = 0.005
	// everyNth Put is of half the size, or of twice when that is the least: without two sizes a store's latency cannot be
	// told from its work.
	everyNth = 8
	// A Put that takes more than so many times what was expected, or less than the inverse, is strange. One is a hiccup;
	// two in a row are a store that is no longer what it was, and all that was learnt is forgotten.
	strange = 2.0
)

// pace decides how many records may be in flight. It takes a Put of w records to last a + b·w, a being the store's own
// latency and b its work for each record, and fits both to the last Puts by least squares of the relative errors. The
// window is what the store works off in the flight time less a; where a alone takes more than half of that, it is what is
// worked off in a, so that distance alone never costs more than half of the store's speed. For a store without latency
// that is 50 ms of its rate.
type pace struct {
	flight time.Duration
	most   int

	mu     sync.Mutex
	window int
	puts   int // asked for
	learnt int // observed since it began or forgot
	odd    int // strange ones in a row

	// Sums over the Puts, the last weighing most: weight, records, seconds, and their products.
	n, w, t, ww, wt float64
}

func newPace(flight time.Duration, most int) *pace {
	return &pace{flight: flight, most: most, window: min(startWindow, most)}
}

// next returns how many records to take for the next Put, at least 1.
func (p *pace) next() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.puts++
	if p.puts%everyNth != 0 || p.most == 1 {
		return p.window
	}
	if p.window == 1 {
		return 2
	}
	return p.window / 2
}

// observe learns from a Put of count records that the store has answered.
func (p *pace) observe(count int, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, t := float64(count), max(took, time.Microsecond).Seconds()
	t = p.acceptLocked(w, t)
	weight := 1 / (t * t)
	p.learnt++
	p.n = p.n*paceMemory + weight
	p.w = p.w*paceMemory + weight*w
	p.t = p.t*paceMemory + weight*t
	p.ww = p.ww*paceMemory + weight*w*w
	p.wt = p.wt*paceMemory + weight*w*t
	p.adjustLocked()
}

// acceptLocked compares what a Put took with what was expected, and returns what is to be learnt from it.
func (p *pace) acceptLocked(w, t float64) float64 {
	a, b := p.fitLocked()
	expected := a + b*w
	if p.learnt < 2 || (t <= expected*strange && t >= expected/strange) {
		p.odd = 0
		return t
	}
	if p.odd++; p.odd == 1 {
		return min(max(t, expected/strange), expected*strange)
	}
	p.learnt, p.odd = 0, 0
	p.n, p.w, p.t, p.ww, p.wt = 0, 0, 0, 0, 0
	return t
}

// fitLocked returns the latency and the work for one record, in seconds, both at least 0.
func (p *pace) fitLocked() (a, b float64) {
	if p.learnt == 0 {
		return 0, 0
	}
	n := p.n * (1 + paceOrigin)
	if spread := p.ww - p.w*p.w/n; spread > 0 {
		b = max(0, (p.wt-p.w*p.t/n)/spread)
	}
	return max(0, (p.t-b*p.w)/n), b
}

func (p *pace) adjustLocked() {
	a, b := p.fitLocked()
	room := max(p.flight.Seconds()-a, a)
	grown := min(2*p.window, p.most) // never by more at once: what was not tried is not known
	if b*float64(grown) <= room {
		p.window = grown
		return
	}
	p.window = max(1, int(room/b))
}

func (p *pace) current() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.window
}
