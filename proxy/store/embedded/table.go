package embedded

// table finds the newest row of an id: open addressing over row numbers, 4 bytes each, at most half of them in use. The ids
// themselves stay on disk. It belongs to whoever holds the writer's turn, who changes it under Store.mu: Versions looks into
// it under that.
//
// Two ids may share a hash. The rows of both stand in the table then, and the caller tells them apart.
type table struct {
	slots []uint32 // row + 1; 0 is free
	used  int
}

const smallestTable = 1 << 10

// find calls same for each row that was put in under this hash, until it says yes. It returns that row.
func (t *table) find(hash uint64, hashOf func(row uint32) uint64, same func(row uint32) bool) (row uint32, ok bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	mask := t.mask()
	for i := hash & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if row := t.slots[i] - 1; hashOf(row) == hash && same(row) {
			return row, true
		}
	}
	return 0, false
}

// insert adds a row whose id has none yet.
func (t *table) insert(hash uint64, row uint32, hashOf func(row uint32) uint64) {
	if 2*(t.used+1) > len(t.slots) {
		t.grow(hashOf)
	}
	t.place(hash, row)
	t.used++
}

// replace puts a row in the place of an older one of the same id. It returns false where the older is not in the table.
func (t *table) replace(hash uint64, older, row uint32) bool {
	if len(t.slots) == 0 {
		return false
	}
	mask := t.mask()
	for i := hash & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if t.slots[i] == older+1 {
			t.slots[i] = row + 1
			return true
		}
	}
	return false
}

func (t *table) mask() uint64 { return uint64(len(t.slots) - 1) } //nolint:gosec // a power of two

func (t *table) place(hash uint64, row uint32) {
	mask := t.mask()
	i := hash & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = row + 1
}

func (t *table) grow(hashOf func(row uint32) uint64) {
	old := t.slots
	t.slots = make([]uint32, max(smallestTable, 2*len(old)))
	for _, slot := range old {
		if slot != 0 {
			t.place(hashOf(slot-1), slot-1)
		}
	}
}
