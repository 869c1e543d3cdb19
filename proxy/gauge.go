package proxy

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// gaugeEvery is how often pressure is looked at while somebody waits for it to change. It is also the shortest distance
// between two warnings to one client.
const gaugeEvery = 100 * time.Millisecond

// The thresholds of pressure: a client is warned from the first on, and told that all is well below the second.
const (
	pressureHigh = 0.8
	pressureLow  = 0.5
)

// gauge tells those who wait for room, or for pressure to change. It costs nothing while nobody does.
type gauge struct {
	journal Journal
	lanes   Lanes

	mu      sync.Mutex
	last    [3]int        // pressure of each lane in hundredths, when it was last looked at
	changed chan struct{} // closed when one of them has changed; nil while nobody waits
	next    chan struct{} // closed at the next tick; nil while nobody waits
}

// pressure is how full the way to the store is for one lane: the fullest of its own limit and the journal.
func (g *gauge) pressure(lane wal.Lane) float64 {
	p := g.journal.Pressure()
	if l := g.lanes.Load(lane); l.Limit > 0 {
		p = max(p, float64(l.Depth)/float64(l.Limit))
	}
	return min(p, 1)
}

// changes returns a channel that is closed when the pressure of some lane has changed by a hundredth. Ask for it first,
// then look.
func (g *gauge) changes() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.changed
}

// tick returns a channel that is closed soon, when there may be room again.
func (g *gauge) tick() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.next == nil {
		g.next = make(chan struct{})
	}
	return g.next
}

// run looks at the pressure until ctx ends.
func (g *gauge) run(ctx context.Context) {
	ticker := time.NewTicker(gaugeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			g.look()
		case <-ctx.Done():
			return
		}
	}
}

func (g *gauge) look() {
	g.mu.Lock()
	waited := g.changed != nil
	if g.next != nil {
		close(g.next)
		g.next = nil
	}
	g.mu.Unlock()
	if !waited {
		return
	}
	var now [3]int
	for lane := wal.LaneHigh; lane <= wal.LaneLow; lane++ {
		now[lane-wal.LaneHigh] = int(math.Round(100 * g.pressure(lane)))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now != g.last {
		g.last = now
		close(g.changed)
		g.changed = nil
	}
}
