package embedded

import "slices"

// space is one memory space: which rows are in it. Guarded by Store.mu.
type space struct {
	name   string
	number uint32

	// rows only grows at its end, or is exchanged whole: a recall keeps the slice it began with.
	rows   []uint32
	sweeps int // how often it was exchanged
	live   int // rows that are neither replaced nor damaged
	dead   int // rows in the list that were replaced
}

// sweepAbove is how many replaced rows a list may hold before it is worth while to look whether they are most of it.
const sweepAbove = 1024

// sweep takes replaced rows out of the list when they are most of it, so that a space whose memories are stored anew again
// and again is not searched through all its past.
func (sp *space) sweep(isDead func(row uint32) bool) {
	if sp.dead < sweepAbove || 2*sp.dead < len(sp.rows) {
		return
	}
	sp.rows = slices.DeleteFunc(slices.Clone(sp.rows), isDead)
	sp.dead = 0
	sp.sweeps++
}
