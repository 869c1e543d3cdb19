package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

func testRecallContext(t *testing.T, s *subject) {
	if !s.Exact || !s.Store.Capabilities().Can(store.CueContext) {
		return
	}
	records := s.scenes(t)
	for name, f := range map[string]store.Filter{
		"everything":            {},
		"from a moment":         {From: noon.Add(20 * time.Minute)},
		"to a moment":           {To: noon.Add(20*time.Minute + 1)},
		"within a window":       {From: noon.Add(10 * time.Minute), To: noon.Add(11 * time.Minute)},
		"an empty window":       {From: noon.Add(-2 * time.Hour), To: noon.Add(-time.Hour)},
		"a place":               {Place: "pond"},
		"a place nobody was at": {Place: "Pond"},
		"one of the people":     {People: []string{"bob"}},
		"several people":        {People: []string{"cem", "ann"}},
		"nobody of that name":   {People: []string{"ann", "an"}},
		"all of it":             {From: noon, To: noon.Add(30 * time.Minute), Place: "shed", People: []string{"ann"}},
	} {
		want := meeting(t, records, f)
		for _, k := range []int{1, 7, len(records) + 5} {
			hits := s.recall(t, store.Query{Space: space, K: k, Filter: f})
			var got []string
			for _, h := range hits {
				got = append(got, h.ID)
			}
			if want := want[:min(k, len(want))]; !slices.Equal(got, want) {
				t.Errorf("%s, at most %d: got %v, expected %v", name, k, got, want)
			}
		}
	}
}

func testRecallContextReplaced(t *testing.T, s *subject) {
	if !s.Exact || !s.Store.Capabilities().Can(store.CueContext) {
		return
	}
	records := s.scenes(t)
	moved := records[3]
	s.index++
	newer := RecordIn(Scene{When: noon.Add(24 * time.Hour), Place: "attic"}, moved.Form, s.index, space, string(moved.ID), "", Vector(s.index))
	s.mustPut(t, newer)
	hits := s.recall(t, store.Query{Space: space, K: 1000, Filter: store.Filter{}})
	if len(hits) != len(records) || hits[0].ID != string(moved.ID) {
		t.Fatalf("%d hits, expected %d with %q first, which was stored anew", len(hits), len(records), moved.ID)
	}
	if !slices.Equal(hits[0].Body, newer.Payload) {
		t.Errorf("the body of %q is not what was put", hits[0].ID)
	}
	if v := hits[0].Version; s.Store.Capabilities().Versions && v != newer.Index {
		t.Errorf("%q comes as version %d, expected %d", hits[0].ID, v, newer.Index)
	}
}

func testRecallWords(t *testing.T, s *subject) {
	if caps := s.Store.Capabilities(); !s.Exact || !caps.Can(store.CueSemantic) || !caps.TextAsVector {
		return
	}
	records := s.scenes(t)
	vectors := map[string][]float32{}
	for i := range records {
		vectors[string(records[i].ID)] = Vector(records[i].Index)
	}
	for name, f := range map[string]store.Filter{
		"any tags":     {},
		"a tag":        {With: []string{"old"}},
		"several tags": {With: []string{"wet", "red"}},
		"without one":  {Without: []string{"old"}},
		"both":         {With: []string{"red"}, Without: []string{"wet"}},
		"no such tag":  {With: []string{"Red"}},
	} {
		fitting := map[string][]float32{}
		for _, id := range meeting(t, records, f) {
			fitting[id] = vectors[id]
		}
		for _, k := range []int{1, 10, len(records) + 5} {
			q := store.Query{Space: space, Text: "tulips", Vector: Vector(77), K: k, Threshold: -1, Filter: f}
			t.Run(fmt.Sprintf("%s, at most %d", name, k), func(t *testing.T) { compareWithAll(t, s.recall(t, q), q, fitting) })
		}
	}
}

// testRecallOthers asks for what the store says it cannot answer.
func testRecallOthers(t *testing.T, s *subject) {
	caps := s.Store.Capabilities()
	if caps.Can(store.CueContext) || !s.Exact {
		return
	}
	if _, err := s.Store.Recall(t.Context(), store.Query{Space: space, K: 1}); store.ClassOf(err) != store.ClassPermanent {
		t.Errorf("a context cue, which the store does not know: expected a permanent refusal, got %v", err)
	}
}

func testRecallContextEnded(t *testing.T, s *subject) {
	if !s.Exact || !s.Store.Capabilities().Can(store.CueContext) {
		return
	}
	s.mustPut(t, s.next(space, "rose", "bud"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Store.Recall(ended, store.Query{Space: space, K: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("expected %v, got %v", context.Canceled, err)
	}
}
