package storetest

import (
	"context"
	"slices"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// versioner is what a store may be whose Capabilities say Versions; the edge asks it whether what is pending was overtaken.
type versioner interface {
	Versions(ctx context.Context, space string, ids []string) ([]uint64, error)
}

func testVersions(t *testing.T, s *subject) {
	v, ok := s.Store.(versioner)
	if !ok {
		t.Skip("it does not tell versions by id")
	}
	ask := func(space string, want []uint64, ids ...string) {
		t.Helper()
		got, err := v.Versions(t.Context(), space, ids)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("versions of %q in %s: %v, %v; expected %v", ids, space, got, err, want)
		}
	}
	ask(space, []uint64{0}, "rose")
	rose, iris, apple := s.next(space, "rose", "bud"), s.next(space, "iris", "bud"), s.next("orchard", "rose", "an apple")
	s.mustPut(t, rose, iris, apple)
	open := s.next(space, "rose", "open")
	s.mustPut(t, open)
	s.mustPut(t, rose) // changes nothing
	ask(space, []uint64{iris.Index, 0, open.Index, 0, open.Index}, "iris", "tulip", "rose", "a\x00b", "rose")
	ask("orchard", []uint64{apple.Index, 0}, "rose", "iris")
	ask("meadow", []uint64{0}, "rose")
	ask(space, nil)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := v.Versions(ended, space, []string{"rose"}); err == nil || store.ClassOf(err) == store.ClassPermanent {
		t.Errorf("with an ended context: %v, %v", got, err)
	}
}
