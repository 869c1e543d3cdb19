package embedded

import (
	"cmp"
	"slices"
)

// candidate is a row with its score.
type candidate struct {
	score float32
	row   uint32
}

// best orders candidates: higher scores first, and of equal ones the row that was stored first.
func best(a, b candidate) int {
	if c := cmp.Compare(b.score, a.score); c != 0 {
		return c
	}
	return cmp.Compare(a.row, b.row)
}

// tieLimit is how many candidates beyond the k best are kept because they score like the last of those. Ids decide among
// them; where there are more, those stored first are taken to have won already.
const tieLimit = 256

// top keeps the k best of the candidates offered to it, and those that tie with the last of them.
type top struct {
	k    int
	heap []candidate // the worst at the root
	ties []candidate // score like the root, come behind it
}

// wants says whether a candidate would be kept.
func (t *top) wants(c candidate) bool { return len(t.heap) < t.k || c.score >= t.heap[0].score }

func (t *top) offer(c candidate) {
	switch {
	case len(t.heap) < t.k:
		t.heap = append(t.heap, c)
		t.up(len(t.heap) - 1)
	case c.score < t.heap[0].score:
	case best(c, t.heap[0]) > 0:
		t.tie(c)
	default:
		out := t.heap[0]
		t.heap[0] = c
		t.down(0)
		if t.heap[0].score > out.score {
			t.ties = t.ties[:0]
		} else {
			t.tie(out)
		}
	}
}

// tie keeps at least the tieLimit first of the ties.
func (t *top) tie(c candidate) {
	t.ties = append(t.ties, c)
	if len(t.ties) >= 2*tieLimit {
		slices.SortFunc(t.ties, best)
		t.ties = t.ties[:tieLimit]
	}
}

// merge offers all that another has kept.
func (t *top) merge(other *top) {
	for _, c := range other.heap {
		t.offer(c)
	}
	for _, c := range other.ties {
		t.offer(c)
	}
}

// sorted returns what was kept, best first: up to k, and up to tieLimit behind them that tie with the last.
func (t *top) sorted() []candidate {
	slices.SortFunc(t.ties, best)
	all := append(slices.Clone(t.heap), t.ties[:min(len(t.ties), tieLimit)]...)
	slices.SortFunc(all, best)
	return all
}

func (t *top) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if best(t.heap[i], t.heap[parent]) <= 0 {
			return
		}
		t.heap[i], t.heap[parent] = t.heap[parent], t.heap[i]
		i = parent
	}
}

func (t *top) down(i int) {
	for {
		worst := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(t.heap); child++ {
			if best(t.heap[child], t.heap[worst]) > 0 {
				worst = child
			}
		}
		if worst == i {
			return
		}
		t.heap[i], t.heap[worst] = t.heap[worst], t.heap[i]
		i = worst
	}
}
