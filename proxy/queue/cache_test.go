package queue

import (
	"testing"

	"pgregory.net/rapid"
)

func TestCacheIsAMapWithABudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const budget = 100
		c := NewCache[string](budget)
		type sized struct {
			value string
			size  int
		}
		model := map[uint64]sized{}
		used := func() (n int) {
			for _, s := range model {
				n += s.size
			}
			return n
		}
		index := rapid.Uint64Range(1, 12)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				i, s := index.Draw(t, "index"), sized{rapid.String().Draw(t, "value"), rapid.IntRange(0, 60).Draw(t, "size")}
				delete(model, i)
				fits := used()+s.size <= budget
				if fits {
					model[i] = s
				}
				if got := c.Put(i, s.value, s.size); got != fits {
					t.Fatalf("Put(%d, %d bytes) = %v with %d of %d used", i, s.size, got, used(), budget)
				}
			},
			"drop": func(t *rapid.T) {
				i := index.Draw(t, "index")
				delete(model, i)
				c.Drop(i)
			},
			"": func(t *rapid.T) {
				if c.Len() != len(model) || c.Used() != int64(used()) {
					t.Fatalf("holds %d values of %d bytes, want %d of %d", c.Len(), c.Used(), len(model), used())
				}
				for i := uint64(1); i <= 12; i++ {
					want, ok := model[i]
					if got, found := c.Get(i); found != ok || got != want.value {
						t.Fatalf("Get(%d) = %q, %v, want %q, %v", i, got, found, want.value, ok)
					}
				}
			},
		})
	})
}

func TestACacheKeepsFewEntriesForUseAgain(t *testing.T) {
	c := NewCache[[]byte](1 << 30)
	for i := range uint64(5000) {
		c.Put(i, []byte("held"), 1)
	}
	for i := range uint64(5000) {
		c.Drop(i)
	}
	if len(c.free) != keptEntries {
		t.Errorf("%d entries are kept, want %d", len(c.free), keptEntries)
	}
	for _, e := range c.free {
		if e.value != nil {
			t.Fatal("an entry that waits for use again holds a value alive")
		}
	}
}

func BenchmarkCache(b *testing.B) {
	type record [17]uint64 // the size of a wal.Record
	c := NewCache[record](64 << 20)
	b.ReportAllocs()
	for i := uint64(1); b.Loop(); i++ {
		c.Put(i, record{}, 3200)
		if i > 1000 {
			c.Get(i - 1000)
			c.Drop(i - 1000)
		}
	}
}
