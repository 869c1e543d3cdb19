package queue

import "sync"

// keptEntries bounds the entries that a Cache keeps for use again.
const keptEntries = 1024

// Cache holds values by journal index within a byte budget, so that what is delivered soon need not be read back. It
// never evicts: what is oldest is delivered first, and what does not fit now is read from the journal when its turn comes.
type Cache[V any] struct {
	mu      sync.Mutex
	budget  int64
	used    int64
	entries map[uint64]*entry[V]
	free    []*entry[V]
}

type entry[V any] struct {
	value V
	size  int64
}

// NewCache makes a cache that holds at most budget bytes; with 0 or less it holds nothing.
func NewCache[V any](budget int64) *Cache[V] {
	return &Cache[V]{budget: budget, entries: make(map[uint64]*entry[V])}
}

// Put keeps a value that costs size bytes, and says whether it did: not when the budget has no room. An older value of
// the index is gone in either case.
func (c *Cache[V]) Put(index uint64, value V, size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked(index)
	if c.used+int64(size) > c.budget {
		return false
	}
	e := c.entryLocked()
	e.value, e.size = value, int64(size)
	c.entries[index] = e
	c.used += e.size
	return true
}

// Get returns the value of an index, if the cache has it.
func (c *Cache[V]) Get(index uint64) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[index]; e != nil {
		return e.value, true
	}
	var none V
	return none, false
}

// Drop forgets an index and gives its bytes back to the budget. Unknown indexes are ignored.
func (c *Cache[V]) Drop(index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked(index)
}

// Used returns how many bytes of the budget are taken.
func (c *Cache[V]) Used() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// Len returns how many values the cache holds.
func (c *Cache[V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

func (c *Cache[V]) dropLocked(index uint64) {
	e := c.entries[index]
	if e == nil {
		return
	}
	delete(c.entries, index)
	c.used -= e.size
	*e = entry[V]{} // the value must not be held alive by an entry that waits for use again
	if len(c.free) < keptEntries {
		c.free = append(c.free, e)
	}
}

func (c *Cache[V]) entryLocked() *entry[V] {
	if last := len(c.free) - 1; last >= 0 {
		e := c.free[last]
		c.free[last] = nil
		c.free = c.free[:last]
		return e
	}
	return new(entry[V])
}
