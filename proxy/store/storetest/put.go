package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

const space = "garden"

func item(r *wal.Record, text string) Item {
	return Item{ID: string(r.ID), Text: text, Version: r.Index}
}

// several returns records of all forms and what a store holds when it has them.
func (s *subject) several(space string, n int) (records []wal.Record, items []Item) {
	for i := range n {
		s.index++
		form := wal.FormEpisode + wal.Form(i%3)
		text := fmt.Sprintf("the %d. tulip is open", i)
		r := Record(form, s.index, space, fmt.Sprintf("tulip-%03d", i), text, Vector(s.index))
		records, items = append(records, r), append(items, item(&r, text))
	}
	return records, items
}

func testKeeps(t *testing.T, s *subject) {
	records, items := s.several(space, 40)
	s.mustPut(t, records[:1]...)
	s.want(t, space, items[:1]...)
	s.mustPut(t, records[1:]...)
	s.want(t, space, items...)
}

func testTwice(t *testing.T, s *subject) {
	records, items := s.several(space, 20)
	s.mustPut(t, records...)
	s.mustPut(t, records...)
	s.mustPut(t, append(records[5:9:9], records[2:15]...)...)
	s.want(t, space, items...)
}

func testNewer(t *testing.T, s *subject) {
	records, items := s.several(space, 10)
	s.mustPut(t, records...)
	for i := range 3 {
		r := s.next(space, "tulip-004", fmt.Sprintf("seen %d times", i))
		s.mustPut(t, r)
		items[4] = item(&r, fmt.Sprintf("seen %d times", i))
		s.want(t, space, items...)
	}
}

func testOlder(t *testing.T, s *subject) {
	if !s.Store.Capabilities().Versions {
		return
	}
	old, middle, young := s.next(space, "rose", "bud"), s.next(space, "rose", "open"), s.next(space, "rose", "withered")
	s.mustPut(t, young)
	s.mustPut(t, old)
	s.mustPut(t, middle, old)
	s.want(t, space, item(&young, "withered"))
}

func testOneIDInBatch(t *testing.T, s *subject) {
	a, b, c := s.next(space, "rose", "bud"), s.next(space, "iris", "bud"), s.next(space, "rose", "open")
	s.mustPut(t, a, b, c)
	s.want(t, space, item(&b, "bud"), item(&c, "open"))
	d, e := s.next(space, "rose", "withered"), s.next(space, "rose", "gone")
	s.mustPut(t, d, e)
	s.mustPut(t, e, e)
	s.want(t, space, item(&b, "bud"), item(&e, "gone"))
}

func testSpaces(t *testing.T, s *subject) {
	const orchard = "orchard"
	a, b := s.next(space, "first", "a tulip"), s.next(orchard, "first", "an apple")
	s.mustPut(t, a, b)
	s.want(t, space, item(&a, "a tulip"))
	s.want(t, orchard, item(&b, "an apple"))
	c := s.next(orchard, "first", "a pear")
	s.mustPut(t, c)
	s.want(t, space, item(&a, "a tulip"))
	s.want(t, orchard, item(&c, "a pear"))
	s.want(t, "meadow")
}

// broken returns records that no store can take.
func (s *subject) broken() []wal.Record {
	short := s.next(space, "short", "")
	short.Payload = Record(wal.FormEpisode, short.Index, space, "short", "too short", Vector(1)[:767]).Payload
	long := s.next(space, "long", "")
	long.Payload = Record(wal.FormEpisode, long.Index, space, "long", "too long", append(Vector(1), 1)).Payload
	cut := s.next(space, "cut", "no message at all")
	cut.Payload = cut.Payload[:len(cut.Payload)-7]
	return []wal.Record{short, long, cut}
}

func testRefusal(t *testing.T, s *subject) {
	records, items := s.several(space, 12)
	for i, bad := range s.broken() {
		at := 1 + 5*i
		batch := append(append(records[:at:at], bad), records[at:]...)
		for j, err := range s.put(t, batch...) {
			switch {
			case j == at && store.ClassOf(err) != store.ClassPermanent:
				t.Errorf("%s: expected a permanent refusal, got %v (%v)", bad.ID, err, store.ClassOf(err))
			case j != at && err != nil:
				t.Errorf("%s was refused beside %s: %v", batch[j].ID, bad.ID, err)
			}
		}
		s.want(t, space, items...)
	}
}

func testAllRefused(t *testing.T, s *subject) {
	for i, err := range s.put(t, s.broken()...) {
		if store.ClassOf(err) != store.ClassPermanent {
			t.Errorf("broken record %d: expected a permanent refusal, got %v", i, err)
		}
	}
	s.want(t, space)
}

func testEmpty(t *testing.T, s *subject) {
	if errs := s.Store.Put(t.Context(), nil); len(errs) != 0 {
		t.Errorf("Put of nothing answered %v", errs)
	}
}

func testEndedContext(t *testing.T, s *subject) {
	records, items := s.several(space, 10)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	confirmed := 0
	for _, err := range s.Store.Put(ended, records) {
		if class := store.ClassOf(err); class == store.ClassPermanent {
			t.Errorf("an ended context buried an item: %v", err)
		}
		if err == nil {
			confirmed++
		}
	}
	if got := len(s.Contents(t, space)); got < confirmed {
		t.Errorf("%d items were confirmed, the store has %d", confirmed, got)
	}
	s.mustPut(t, records...)
	s.want(t, space, items...)
}

func testConcurrent(t *testing.T, s *subject) {
	records, items := s.several(space, 60)
	var callers sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for c := range 6 {
		callers.Go(func() {
			for start := range 6 {
				from := (start*10 + c*5) % 55
				for _, err := range s.Store.Put(t.Context(), records[from:from+5]) {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	callers.Wait()
	if failed != nil && store.ClassOf(failed) == store.ClassPermanent {
		t.Errorf("an item was refused: %v", failed)
	}
	s.mustPut(t, records...)
	s.want(t, space, items...)
}

func testReopen(t *testing.T, s *subject) {
	if s.Reopen == nil {
		return
	}
	records, items := s.several(space, 30)
	for start := 0; start < len(records); start += 10 {
		s.mustPut(t, records[start:start+10]...)
		s.Target = s.Reopen(t)
		s.want(t, space, items[:start+10]...)
	}
	s.mustPut(t, records...)
	newer := s.next(space, "tulip-000", "closed for the night")
	s.mustPut(t, newer)
	items[0] = item(&newer, "closed for the night")
	s.Target = s.Reopen(t)
	s.want(t, space, items...)
}
