package engram

import (
	"math"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// axis is a vector with one number set.
func axis(n int, value float32) []float32 {
	v := make([]float32, store.Dimensions)
	v[n] = value
	return v
}

// between is the vector halfway between two axes: its cosine with either is 0.7071.
func between(m, n int) []float32 {
	v := axis(m, 1)
	v[n] = 1
	return v
}

func TestRecallRanksWhatHasAnEmbedding(t *testing.T) {
	f := newFake(t)
	f.answers["Recall"] = &engramv1.RecallResponse{
		Memories: []*engramv1.Memory{
			{Id: "none", Activation: 0.9},
			{Id: "half", Embedding: between(0, 1), Content: "a text"},
			{Id: "zeros", Embedding: make([]float32, store.Dimensions), Confidence: &engramv1.Confidence{Value: 0.8}},
			{Id: "against", Embedding: axis(0, -1)},
			{Id: "same", Embedding: axis(0, 3)},
			{Id: "same", Embedding: axis(0, 3)},
			{Id: "short", Embedding: []float32{1}},
			{Id: "huge", Embedding: axis(0, float32(math.Inf(1)))},
		},
		RecallConfidence: &engramv1.Confidence{Value: 0.5},
	}
	s := f.open(t, long)
	answer, err := s.Recall(t.Context(), store.Query{Space: "work", Vector: axis(0, 1), K: 10, Threshold: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	type hit struct {
		id       string
		score    float32
		hasScore bool
	}
	wanted := []hit{
		{"same", 1, true},
		{"half", 0.70710677, true},
		{"none", 0.9, false},
		{"zeros", 0.8, false},
		{"short", 0, false},
		{"huge", 0, false},
	}
	if len(answer.Hits) != len(wanted) {
		t.Fatalf("%d hits, want %d: %v", len(answer.Hits), len(wanted), answer.Hits)
	}
	for i, h := range answer.Hits {
		if got := (hit{h.ID, h.Score, h.HasScore}); got != wanted[i] {
			t.Errorf("hit %d: %v, want %v", i, got, wanted[i])
		}
	}
	var m engramv1.Memory
	if err := proto.Unmarshal(answer.Hits[1].Body, &m); err != nil || m.GetContent() != "a text" {
		t.Errorf("body %v (%v), want the memory as it came", &m, err)
	}
	var whole engramv1.RecallResponse
	if err := proto.Unmarshal(answer.Raw, &whole); err != nil || whole.GetRecallConfidence().GetValue() != 0.5 {
		t.Errorf("raw answer %v, want all of it", err)
	}
}

func TestRecallCutsToK(t *testing.T) {
	f := newFake(t)
	f.answers["Recall"] = &engramv1.RecallResponse{Memories: []*engramv1.Memory{
		{Id: "third", Embedding: between(0, 1)}, {Id: "first", Embedding: axis(0, 1)}, {Id: "second", Embedding: axis(0, 2)},
	}}
	answer, err := f.open(t, long).Recall(t.Context(), store.Query{Space: "work", Vector: axis(0, 1), K: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Hits) != 2 || answer.Hits[0].ID != "first" || answer.Hits[1].ID != "second" {
		t.Errorf("%v, want first and second", answer.Hits)
	}
}

func TestRecallAsks(t *testing.T) {
	f := newFake(t)
	f.answers["Recall"] = &engramv1.RecallResponse{}
	s := f.open(t, long)
	ask := func(q store.Query) *engramv1.RecallRequest {
		t.Helper()
		if _, err := s.Recall(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		var asked engramv1.RecallRequest
		if err := proto.Unmarshal(f.asked, &asked); err != nil {
			t.Fatal(err)
		}
		return &asked
	}

	asked := ask(store.Query{Space: "work", Vector: axis(3, 1), K: 7})
	cue := asked.GetCue()
	if asked.GetMemorySpaceId() != "work" || asked.GetMaxResults() != 7 || cue.GetEmbedding().GetVector()[3] != 1 {
		t.Errorf("asked %v, want 7 of work by the vector", asked)
	}
	if cue.GetThreshold() == nil || cue.GetThreshold().GetValue() != 0 {
		t.Errorf("threshold %v, want 0, named: the server's own is 0.7", cue.GetThreshold())
	}

	original, err := proto.Marshal(&engramv1.RecallRequest{
		Cue:             &engramv1.Cue{CueType: &engramv1.Cue_Semantic{Semantic: &engramv1.SemanticCue{Query: "who was there"}}},
		TraceActivation: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	asked = ask(store.Query{Space: "work", K: 5, Raw: original})
	if asked.GetCue().GetSemantic().GetQuery() != "who was there" || !asked.GetTraceActivation() ||
		asked.GetMemorySpaceId() != "work" || asked.GetMaxResults() != 5 {
		t.Errorf("asked %v, want the client's own request, for 5 of work", asked)
	}
}

func TestRecallFails(t *testing.T) {
	for code, class := range map[codes.Code]store.Class{
		codes.InvalidArgument:  store.ClassPermanent,
		codes.PermissionDenied: store.ClassDenied,
		codes.Unavailable:      store.ClassUnavailable,
		codes.Internal:         store.ClassTransient,
	} {
		f := newFake(t)
		f.refuse["Recall"] = status.Error(code, "no")
		_, err := f.open(t, long).Recall(t.Context(), store.Query{Space: "work", Vector: axis(0, 1), K: 1})
		if got := store.ClassOf(err); got != class {
			t.Errorf("%v became %v, want %v", code, got, class)
		}
	}
}

func TestRecallOfGarbage(t *testing.T) {
	for name, response := range map[string]raw{
		"no message at all":     {0xff},
		"a field cut short":     {0x0a, 0x05, 'x'},
		"a memory that is none": {0x0a, 0x02, 0x0a, 0x7f},
	} {
		if _, err := readAnswer(response, store.Query{}); err == nil {
			t.Errorf("%s was taken for an answer", name)
		}
	}
}

func TestCheck(t *testing.T) {
	f := newFake(t)
	s := f.open(t, long)
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("a server that is up: %v", err)
	}
	f.set(func() { delete(f.answers, "Introspect") })
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("a server that cannot introspect: %v", err)
	}
	f.set(func() { f.refuse["Introspect"] = status.Error(codes.Unauthenticated, "who are you") })
	if err := s.Check(t.Context()); store.ClassOf(err) != store.ClassDenied {
		t.Errorf("%v, want denied", err)
	}
	f.stop()
	if err := s.Check(t.Context()); store.ClassOf(err) != store.ClassUnavailable {
		t.Errorf("%v, want unavailable", err)
	}
}

func TestCapabilities(t *testing.T) {
	c := newFake(t).open(t, time.Second).Capabilities()
	if c.Name != "engram" || !c.Can(store.CueEmbedding) || !c.Can(store.CueSemantic) || c.Can(store.CueTemporal) || c.Versions || c.CommitTimes {
		t.Errorf("capabilities %+v are not those of an Engram server", c)
	}
}
