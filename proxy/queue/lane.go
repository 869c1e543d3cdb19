package queue

import "math"

// A run is count consecutive indexes that came within the same second, both relative to the bases of its chunk.
type run struct {
	offset uint32
	count  uint16
	second uint16
}

// runsPerChunk makes a chunk 4,096 bytes, which is a size class of the allocator: no byte of it is wasted.
const runsPerChunk = 507

// A chunk holds the runs [head, tail). Runs are taken at head; new ones come at tail, returned ones before head.
type chunk struct {
	next       *chunk
	base       uint64 // run.offset counts from here, modulo 2^64
	baseSecond int64  // run.second counts from here
	head, tail int
	runs       [runsPerChunk]run
}

// rebase makes an empty chunk ready for indexes and seconds on both sides of the given ones, beginning at slot.
func (c *chunk) rebase(index uint64, second int64, slot int) {
	c.base, c.baseSecond = index-1<<31, second-1<<15
	c.head, c.tail = slot, slot
}

// fit returns the run of n indexes from first, and whether this chunk's bases can express it.
func (c *chunk) fit(first uint64, n uint16, second int64) (run, bool) {
	offset, late := first-c.base, second-c.baseSecond
	if offset > math.MaxUint32-math.MaxUint16 || late < 0 || late > math.MaxUint16 {
		return run{}, false
	}
	return run{offset: uint32(offset), count: n, second: uint16(late)}, true
}

// A lane is a list of chunks, none of them empty except when there is only one.
type lane struct {
	first, last *chunk
	spare       *chunk // one chunk kept back, so that a steady stream does not allocate
	waiting     int
	taken       int // given out by Take, neither returned nor done
}

// headSecond returns the second of the foremost run; the lane must not be empty.
func (l *lane) headSecond() int64 {
	c := l.first
	return c.baseSecond + int64(c.runs[c.head].second)
}

// pop removes the first reference; the lane must not be empty.
func (l *lane) pop() (index uint64, second int64) {
	c := l.first
	r := &c.runs[c.head]
	index, second = c.base+uint64(r.offset), c.baseSecond+int64(r.second)
	l.waiting--
	if r.count > 1 {
		r.offset++
		r.count--
		return index, second
	}
	c.head++
	if c.head == c.tail && c != l.last {
		l.first = c.next
		c.next = nil
		l.spare = c
	}
	return index, second
}

// pushBack appends the indexes first to last.
func (l *lane) pushBack(first, last uint64, second int64) {
	for n := last - first + 1; n > 0; {
		took := l.extendBack(first, n, second)
		if took == 0 {
			took = l.appendRun(first, n, second)
		}
		first += took
		n -= took
		l.waiting += int(took) //nolint:gosec // at most what a run holds
	}
}

// extendBack lengthens the last run by up to n indexes and says by how many.
func (l *lane) extendBack(first, n uint64, second int64) uint64 {
	c := l.last
	if c == nil || c.head == c.tail {
		return 0
	}
	r := &c.runs[c.tail-1]
	if c.base+uint64(r.offset)+uint64(r.count) != first || c.baseSecond+int64(r.second) != second {
		return 0
	}
	took := min(n, math.MaxUint16-uint64(r.count))
	r.count += uint16(took)
	return took
}

func (l *lane) appendRun(first, n uint64, second int64) uint64 {
	count := uint16(min(n, math.MaxUint16))
	c := l.last
	switch {
	case c == nil:
		c = l.newChunk()
		c.rebase(first, second, 0)
		l.first, l.last = c, c
	case c.head == c.tail:
		c.rebase(first, second, 0)
	}
	r, ok := c.fit(first, count, second)
	if !ok || c.tail == runsPerChunk {
		c = l.newChunk()
		c.rebase(first, second, 0)
		r, _ = c.fit(first, count, second)
		l.last.next, l.last = c, c
	}
	c.runs[c.tail] = r
	c.tail++
	return uint64(count)
}

// pushFront puts the indexes first to last before all others.
func (l *lane) pushFront(first, last uint64, second int64) {
	for n := last - first + 1; n > 0; {
		took := l.extendFront(last, n, second)
		if took == 0 {
			took = l.prependRun(last, n, second)
		}
		last -= took
		n -= took
		l.waiting += int(took) //nolint:gosec // at most what a run holds
	}
}

// extendFront lengthens the first run downward by up to n indexes, and says by how many: the usual way back for what was
// just taken.
func (l *lane) extendFront(last, n uint64, second int64) uint64 {
	c := l.first
	if c == nil || c.head == c.tail {
		return 0
	}
	r := &c.runs[c.head]
	if c.base+uint64(r.offset) != last+1 || c.baseSecond+int64(r.second) != second {
		return 0
	}
	took := min(n, math.MaxUint16-uint64(r.count), uint64(r.offset))
	r.offset -= uint32(took)
	r.count += uint16(took)
	return took
}

func (l *lane) prependRun(last, n uint64, second int64) uint64 {
	count := uint16(min(n, math.MaxUint16))
	first := last - uint64(count) + 1
	c := l.first
	switch {
	case c == nil:
		c = l.newChunk()
		c.rebase(first, second, runsPerChunk)
		l.first, l.last = c, c
	case c.head == c.tail:
		c.rebase(first, second, runsPerChunk)
	}
	r, ok := c.fit(first, count, second)
	if !ok || c.head == 0 {
		c = l.newChunk()
		c.rebase(first, second, runsPerChunk)
		r, _ = c.fit(first, count, second)
		c.next, l.first = l.first, c
	}
	c.head--
	c.runs[c.head] = r
	return uint64(count)
}

func (l *lane) newChunk() *chunk {
	if c := l.spare; c != nil {
		l.spare = nil
		return c
	}
	return new(chunk)
}
