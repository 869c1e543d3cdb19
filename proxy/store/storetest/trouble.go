package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// testDown has a store that is not able for a while: what is refused then must come again, and nothing of it is buried.
func testDown(t *testing.T, s *subject) {
	if s.Break == nil {
		return
	}
	records, items := s.several(space, 12)
	s.mustPut(t, records[:4]...)
	mend := s.Break(t)
	for i, err := range s.Store.Put(t.Context(), records[4:]) {
		if class := store.ClassOf(err); class != store.ClassUnavailable && class != store.ClassDenied {
			t.Errorf("item %d, while the store is down: expected unavailable, got %v (%v)", i, class, err)
		}
	}
	mend()
	s.mustPut(t, records...)
	s.want(t, space, items...)
}

// testUnknown loses the store's answer: an item of which nobody knows whether it is stored is never confirmed and never
// buried, and storing it again is harmless.
func testUnknown(t *testing.T, s *subject) {
	if s.LoseAnswer == nil {
		return
	}
	records, items := s.several(space, 9)
	s.mustPut(t, records[:3]...)
	s.LoseAnswer(t)
	for i, err := range s.Store.Put(t.Context(), records) {
		switch class := store.ClassOf(err); {
		case class == store.ClassPermanent:
			t.Errorf("item %d, whose outcome is unknown, was refused for good: %v", i, err)
		case class == store.ClassNone && i >= 3:
			t.Errorf("item %d was confirmed, and its outcome is unknown", i)
		}
	}
	if s.Reopen != nil {
		s.Target = s.Reopen(t)
	}
	s.mustPut(t, records...)
	s.want(t, space, items...)
}

// testCancelled ends contexts while Put is at work: what it confirmed is there, what it did not may come again. The batch is
// used again at once, as the forwarder uses it: a Put that has returned looks at it no more.
func testCancelled(t *testing.T, s *subject) {
	records, items := s.several(space, 200)
	r := rand.New(rand.NewPCG(1, 2))
	confirmed := map[string]bool{}
	for from := 0; from < len(records); from += 10 {
		ctx, cancel := context.WithCancel(t.Context())
		var other sync.WaitGroup
		spins := r.IntN(200_000)
		other.Go(func() {
			for i := 0; i < spins && ctx.Err() == nil; i++ {
				continue
			}
			cancel()
		})
		batch := slices.Clone(records[from : from+10])
		errs := s.Store.Put(ctx, batch)
		clear(batch)
		for i, err := range errs {
			if store.ClassOf(err) == store.ClassPermanent {
				t.Errorf("item %d was refused for good when its context ended: %v", from+i, err)
			}
			confirmed[string(records[from+i].ID)] = err == nil
		}
		cancel()
		other.Wait()
	}
	for _, it := range s.Contents(t, space) {
		delete(confirmed, it.ID)
	}
	for id, was := range confirmed {
		if was {
			t.Errorf("%q was confirmed and is not there", id)
		}
	}
	s.mustPut(t, records...)
	s.want(t, space, items...)
}

// testVersionsAtOnce has several callers put versions of the same memories, in any order: the newest stays.
func testVersionsAtOnce(t *testing.T, s *subject) {
	if !s.Store.Capabilities().Versions {
		return
	}
	const versions, callers = 40, 4
	var records []wal.Record
	newest := map[string]Item{}
	for i := range versions * callers {
		id := []string{"rose", "iris", "tulip"}[i%3]
		r := s.next(space, id, "version "+string(rune('a'+i%26)))
		records, newest[id] = append(records, r), item(&r, "version "+string(rune('a'+i%26)))
	}
	r := rand.New(rand.NewPCG(3, 4))
	r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	var all sync.WaitGroup
	errs := make([]error, callers)
	for c := range callers {
		all.Go(func() {
			for i := range versions {
				at := c*versions + i
				for attempt := 0; attempt < rounds; attempt++ {
					errs[c] = errors.Join(s.Store.Put(t.Context(), records[at:at+1])...)
					if class := store.ClassOf(errs[c]); class == store.ClassNone || class == store.ClassPermanent {
						break
					}
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("a version was not stored: %v", err)
	}
	s.want(t, space, newest["rose"], newest["iris"], newest["tulip"])
}
