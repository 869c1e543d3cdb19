package queue

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is the queue as anyone would write it first: slices.
type model struct {
	waiting [Lanes][]Ref
	taken   []Ref // what the test holds, in the order of the takes
}

func (m *model) take(n int) []Ref {
	var got []Ref
	for lane := range m.waiting {
		k := min(n-len(got), len(m.waiting[lane]))
		got = append(got, m.waiting[lane][:k]...)
		m.waiting[lane] = m.waiting[lane][k:]
	}
	m.taken = append(m.taken, got...)
	return got
}

func (m *model) giveBack(refs []Ref) {
	var back [Lanes][]Ref
	for _, r := range refs {
		back[r.Lane] = append(back[r.Lane], r)
	}
	for lane := range back {
		m.waiting[lane] = append(back[lane], m.waiting[lane]...)
	}
}

func (m *model) depths() [Lanes]int {
	var depths [Lanes]int
	for lane := range m.waiting {
		depths[lane] = len(m.waiting[lane])
	}
	for _, r := range m.taken {
		depths[r.Lane]++
	}
	return depths
}

func (m *model) oldest() time.Time {
	var oldest time.Time
	for _, refs := range m.waiting {
		if len(refs) > 0 && (oldest.IsZero() || refs[0].At.Before(oldest)) {
			oldest = refs[0].At
		}
	}
	return oldest
}

// machine runs the same operations on a Queue and on the model.
type machine struct {
	q    *Queue
	m    model
	next uint64
	at   int64
}

func (s *machine) push(t *rapid.T) {
	lane := rapid.IntRange(0, Lanes-1).Draw(t, "lane")
	// Gaps and pauses, small ones and such as no chunk can express.
	s.next += rapid.SampledFrom([]uint64{1, 1, 1, 2, 1 << 20, 1 << 33}).Draw(t, "gap")
	s.at += rapid.SampledFrom([]int64{0, 0, 0, 1, 70_000}).Draw(t, "pause")
	n := rapid.SampledFrom([]uint64{1, 1, 3, 500}).Draw(t, "count")
	first, last := s.next, s.next+n-1
	s.next = last
	s.q.PushRun(lane, first, last, time.Unix(s.at, 0))
	for i := first; i <= last; i++ {
		s.m.waiting[lane] = append(s.m.waiting[lane], Ref{Index: i, Lane: lane, At: time.Unix(s.at, 0)})
	}
}

// scatter pushes references that form no runs, more than a chunk holds.
func (s *machine) scatter(t *rapid.T) {
	lane := rapid.IntRange(0, Lanes-1).Draw(t, "lane")
	for range rapid.IntRange(1, 2*runsPerChunk).Draw(t, "count") {
		s.next += 2
		s.q.Push(lane, s.next, time.Unix(s.at, 0))
		s.m.waiting[lane] = append(s.m.waiting[lane], Ref{Index: s.next, Lane: lane, At: time.Unix(s.at, 0)})
	}
}

func (s *machine) take(t *rapid.T) {
	n := rapid.SampledFrom([]int{1, 2, 7, 400, 5000}).Draw(t, "max")
	want := s.m.take(n)
	if len(want) == 0 {
		return // a Take would wait
	}
	got, err := s.q.Take(t.Context(), n, nil)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("Take(%d): %d references, %v; want %d; first difference at %d", n, len(got), err, len(want), difference(got, want))
	}
}

// giveBack returns a contiguous part of what is held, as a dispatcher does with what a store did not take.
func (s *machine) giveBack(t *rapid.T) {
	from, to := s.part(t)
	refs := slices.Clone(s.m.taken[from:to])
	s.m.taken = slices.Delete(s.m.taken, from, to)
	s.m.giveBack(refs)
	s.q.Return(refs)
}

// giveBackRun returns the longest run at a place of what is held.
func (s *machine) giveBackRun(t *rapid.T) {
	from, _ := s.part(t)
	if from == len(s.m.taken) {
		return
	}
	first, to := s.m.taken[from], from+1
	for to < len(s.m.taken) && s.m.taken[to] == (Ref{first.Index + uint64(to-from), first.Lane, first.At}) {
		to++
	}
	refs := slices.Clone(s.m.taken[from:to])
	s.m.taken = slices.Delete(s.m.taken, from, to)
	s.m.giveBack(refs)
	s.q.ReturnRun(first.Lane, first.Index, refs[len(refs)-1].Index, first.At)
}

func (s *machine) settle(t *rapid.T) {
	from, to := s.part(t)
	for _, r := range s.m.taken[from:to] {
		s.q.Done(r.Lane, 1)
	}
	s.m.taken = slices.Delete(s.m.taken, from, to)
}

func (s *machine) part(t *rapid.T) (from, to int) {
	from = rapid.IntRange(0, len(s.m.taken)).Draw(t, "from")
	return from, rapid.IntRange(from, len(s.m.taken)).Draw(t, "to")
}

func (s *machine) check(t *rapid.T) {
	if got, want := s.q.Depths(), s.m.depths(); got != want {
		t.Fatalf("Depths() = %v, want %v", got, want)
	}
	if got, want := s.q.Oldest(), s.m.oldest(); !got.Equal(want) {
		t.Fatalf("Oldest() = %v, want %v", got, want)
	}
	waiting := 0
	for _, refs := range s.m.waiting {
		waiting += len(refs)
	}
	if got := s.q.Waiting(); got != waiting {
		t.Fatalf("Waiting() = %d, want %d", got, waiting)
	}
	checkShape(t, s.q)
}

// checkShape looks inside: no chunk but a single one is empty, and the runs tell the same number as the counter.
func checkShape(t *rapid.T, q *Queue) {
	for i := range q.lanes {
		l := &q.lanes[i]
		n := 0
		for c := l.first; c != nil; c = c.next {
			if c.head == c.tail && l.first != l.last {
				t.Fatalf("lane %d keeps an empty chunk", i)
			}
			for _, r := range c.runs[c.head:c.tail] {
				n += int(r.count)
			}
			if c.next == nil && c != l.last {
				t.Fatalf("lane %d: the last chunk is not last", i)
			}
		}
		if n != l.waiting {
			t.Fatalf("lane %d: runs hold %d references, the counter says %d", i, n, l.waiting)
		}
	}
}

func difference(a, b []Ref) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestQueueIsThreeSlices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(1_700_000_000, 0)
		// The clock stands still, so nothing is aged and the order is strictly high, normal, low.
		s := &machine{q: New(Config{}, func() time.Time { return start }), next: 1 << 40, at: start.Unix()}
		t.Repeat(map[string]func(*rapid.T){
			"push": s.push, "scatter": s.scatter, "take": s.take, "return": s.giveBack, "returnRun": s.giveBackRun, "done": s.settle, "": s.check,
		})
	})
}
