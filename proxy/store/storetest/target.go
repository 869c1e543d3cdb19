package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Store is what every store can do.
type Store interface {
	Put(ctx context.Context, batch []wal.Record) []error
	Recall(ctx context.Context, q store.Query) (store.Answer, error)
	Capabilities() store.Capabilities
	Close() error
}

// Target is an opened store with the means to look into it.
type Target struct {
	Store Store

	// Contents returns every memory of a space, in any order. A store that holds one id twice must show it twice.
	Contents func(t *testing.T, space string) []Item

	// Reopen closes the store and opens it anew where it was; nil where nothing of the store is on this machine.
	Reopen func(t *testing.T) Target

	// Break makes the store unable to store, as where its server is down or its disk full, until mend is called; nil where
	// the test has no means to.
	Break func(t *testing.T) (mend func())

	// LoseAnswer has the next Put fail so that nobody knows whether it stored anything; nil where the test has no means to.
	// Where there is a Reopen, the suite calls it before the store is used again.
	LoseAnswer func(t *testing.T)

	// Exact says that Recall compares the cue with every memory, so that its answer can be foretold.
	Exact bool
}

// Item is a memory as the store has it.
type Item struct {
	ID      string
	Text    string // the episode's what, the memory's content
	Version uint64 // compared only where Capabilities say Versions
}

// Run puts a store through all that package store promises. Open returns an empty one; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) Target) {
	for _, part := range []struct {
		name string
		run  func(t *testing.T, s *subject)
	}{
		{"keeps what it confirms", testKeeps},
		{"takes a batch twice without harm", testTwice},
		{"a newer version replaces", testNewer},
		{"an older version changes nothing", testOlder},
		{"one id several times in a batch", testOneIDInBatch},
		{"spaces are apart", testSpaces},
		{"a refused item leaves the others stored", testRefusal},
		{"a batch of refused items", testAllRefused},
		{"an empty batch", testEmpty},
		{"an ended context", testEndedContext},
		{"contexts that end on the way", testCancelled},
		{"down for a while", testDown},
		{"an answer that is lost", testUnknown},
		{"several callers at once", testConcurrent},
		{"several versions at once", testVersionsAtOnce},
		{"versions by id", testVersions},
		{"opened anew it has all", testReopen},
		{"random history", testHistory},
		{"recall is exact", testRecallExact},
		{"recall leaves out replaced versions", testRecallReplaced},
		{"recall orders equal scores by id", testRecallTies},
		{"recall by commit time", testRecallBefore},
		{"recall by context", testRecallContext},
		{"recall by context leaves out replaced versions", testRecallContextReplaced},
		{"recall by words", testRecallWords},
		{"recall refuses what is no vector", testRecallRefuses},
		{"recall refuses a kind of cue it does not know", testRecallOthers},
		{"recall in an unknown space", testRecallUnknown},
		{"recall with an ended context", testRecallEnded},
		{"recall by context with an ended context", testRecallContextEnded},
	} {
		t.Run(part.name, func(t *testing.T) {
			target := open(t)
			s := &subject{Target: target}
			t.Cleanup(func() {
				if err := s.Store.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			part.run(t, s)
		})
	}
}

// subject is the target of one test.
type subject struct {
	Target
	index uint64 // of the last record made
}

// rounds is how often a batch is put before the suite gives up.
const rounds = 50

// put stores records as the forwarder does: what is put off comes again, in order. It returns the last error of each item,
// nil or a permanent one.
func (s *subject) put(t *testing.T, records ...wal.Record) []error {
	t.Helper()
	errs := make([]error, len(records))
	left := make([]int, len(records))
	for i := range left {
		left[i] = i
	}
	for range rounds {
		batch := make([]wal.Record, len(left))
		for i, at := range left {
			batch[i] = records[at]
		}
		got := s.Store.Put(t.Context(), batch)
		if len(got) != len(batch) {
			t.Fatalf("Put answered %d of %d items", len(got), len(batch))
		}
		var again []int
		for i, at := range left {
			errs[at] = got[i]
			if class := store.ClassOf(got[i]); class != store.ClassNone && class != store.ClassPermanent {
				again = append(again, at)
			}
		}
		if left = again; len(left) == 0 {
			return errs
		}
	}
	t.Fatalf("%d of %d items are still not stored after %d rounds; the first: %v", len(left), len(records), rounds, errs[left[0]])
	return nil
}

// mustPut stores records, all of them.
func (s *subject) mustPut(t *testing.T, records ...wal.Record) {
	t.Helper()
	if err := errors.Join(s.put(t, records...)...); err != nil {
		t.Fatalf("one of %d records was refused: %v", len(records), err)
	}
}

// want compares what a space holds with what it should.
func (s *subject) want(t *testing.T, space string, want ...Item) {
	t.Helper()
	byID := func(a, b Item) int {
		return strings.Compare(a.ID+"\x00"+a.Text, b.ID+"\x00"+b.Text)
	}
	got := slices.SortedFunc(slices.Values(s.Contents(t, space)), byID)
	want = slices.SortedFunc(slices.Values(want), byID)
	versions := s.Store.Capabilities().Versions
	for i, w := range want {
		if i == len(got) {
			t.Fatalf("%s lacks %q %q, and %d more", space, w.ID, w.Text, len(want)-i-1)
		}
		switch g := got[i]; {
		case g.ID != w.ID || g.Text != w.Text:
			t.Fatalf("%s holds %q %q, expected %q %q", space, g.ID, g.Text, w.ID, w.Text)
		case versions && g.Version != w.Version:
			t.Errorf("%s holds %q as version %d, expected %d", space, g.ID, g.Version, w.Version)
		}
	}
	for _, g := range got[len(want):] {
		t.Errorf("%s holds %q %q besides", space, g.ID, g.Text)
	}
}
