package proxy

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/embedding"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

func contextCue(c *pb.ContextCue) *pb.Cue { return &pb.Cue{CueType: &pb.Cue_Context{Context: c}} }

func words(text string) *pb.Cue {
	return &pb.Cue{CueType: &pb.Cue_Semantic{Semantic: &pb.SemanticCue{Query: text}}}
}

// allCues is a store as the embedded one is.
var allCues = store.Capabilities{
	Cues: []store.Cue{store.CueEmbedding, store.CueSemantic, store.CueContext}, TextAsVector: true, Versions: true,
}

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// told observes texts with the embedder's vectors, at minutes after noon.
func (e *edge) told(texts ...string) {
	e.t.Helper()
	c := e.begin("", &pb.StreamInit{})
	for i, text := range texts {
		ep := &pb.Episode{
			Id: fmt.Sprint(i), What: text, Embedding: embedding.Text(text), When: timestamppb.New(noon.Add(time.Duration(i) * time.Minute)),
			WhereLocation: []string{"kitchen", "garden"}[i%2], Who: []string{"ann", "bob"}[:i%3],
		}
		c.send(observationOf(uint64(i)+1, ep))
		if c.recv().GetAck() == nil {
			e.t.Fatal("not acked")
		}
	}
}

func TestPendingIsFoundByWords(t *testing.T) {
	e := newEdge(t, Config{})
	e.store.can = allCues
	e.told("the kettle boils", "rain on the roof", "a kettle was bought")
	var asked store.Query
	e.store.set(func(q store.Query) (store.Answer, error) {
		asked = q
		stored := hitOf(t, 0, &pb.Episode{Id: "stored", What: "kettle", Embedding: embedding.Text("kettle")}, 1)
		return store.Answer{Hits: []store.Hit{stored}}, nil
	})
	cue := words("kettle")
	cue.GetSemantic().FuzzyThreshold = 0.1
	var header metadata.MD
	res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: cue}, grpc.Header(&header))
	if err != nil || len(header.Get(partialKey)) != 0 {
		t.Fatalf("%v, %v", err, header)
	}
	if got := idsOf(res.GetMemories()); got != "[stored 0 2]" && got != "[stored 2 0]" {
		t.Errorf("found %s", got)
	}
	if asked.Text != "kettle" || len(asked.Vector) != 768 || asked.Threshold != 0.1 || asked.Cue != store.CueSemantic {
		t.Errorf("the store was asked for %q, %d numbers, threshold %v", asked.Text, len(asked.Vector), asked.Threshold)
	}
}

func TestTagsOfPendingMemories(t *testing.T) {
	e := newEdge(t, Config{})
	e.store.can = allCues
	for id, tags := range map[string][]string{"a": {"red"}, "b": {"red", "old"}, "c": nil} {
		_, err := e.Remember(e.ctx, &pb.RememberRequest{MemoryType: &pb.RememberRequest_Memory{Memory: &pb.Memory{
			Id: id, Content: "tea", Embedding: embedding.Text("tea"), Tags: tags,
		}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for want, cue := range map[string]*pb.SemanticCue{
		"[a b]":   {Query: "tea", RequiredTags: []string{"red"}},
		"[a]":     {Query: "tea", RequiredTags: []string{"red"}, ExcludedTags: []string{"old"}},
		"[a c]":   {Query: "tea", ExcludedTags: []string{"old"}},
		"[a b c]": {Query: "tea"},
	} {
		res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: &pb.Cue{CueType: &pb.Cue_Semantic{Semantic: cue}}})
		if err != nil || idsOf(res.GetMemories()) != want {
			t.Errorf("%v: got %s, %v, want %s", cue, idsOf(res.GetMemories()), err, want)
		}
	}
}

func TestPendingIsFoundByContext(t *testing.T) {
	e := newEdge(t, Config{})
	e.store.can = allCues
	e.told("zero", "one", "two", "three", "four", "five")
	at := func(minutes int) *timestamppb.Timestamp {
		return timestamppb.New(noon.Add(time.Duration(minutes) * time.Minute))
	}
	for _, row := range []struct {
		cue  *pb.ContextCue
		max  int32
		want string
	}{
		{&pb.ContextCue{}, 0, "[5 4 3 2 1 0]"},
		{&pb.ContextCue{}, 2, "[5 4]"},
		{&pb.ContextCue{TimeStart: at(2), TimeEnd: at(4)}, 0, "[3 2]"},
		{&pb.ContextCue{Location: "garden"}, 0, "[5 3 1]"},
		{&pb.ContextCue{Participants: []string{"bob"}}, 0, "[5 2]"},
		{&pb.ContextCue{Location: "garden", Participants: []string{"ann", "bob"}, TimeStart: at(1)}, 0, "[5]"},
		{&pb.ContextCue{Location: "gard"}, 0, "[]"},
	} {
		res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: contextCue(row.cue), MaxResults: row.max})
		if err != nil || idsOf(res.GetMemories()) != row.want {
			t.Errorf("%v: got %s, %v, want %s", row.cue, idsOf(res.GetMemories()), err, row.want)
		}
	}
}

func TestContextOfStoreAndPendingIsMerged(t *testing.T) {
	e := newEdge(t, Config{})
	e.store.can = allCues
	e.told("zero", "one", "two")
	between := &pb.Episode{Id: "between", Embedding: vector(1), When: timestamppb.New(noon.Add(90 * time.Second))}
	replaced := &pb.Episode{Id: "2", What: "an old version", Embedding: vector(1), When: timestamppb.New(noon.Add(time.Hour))}
	e.store.set(func(store.Query) (store.Answer, error) {
		hits := []store.Hit{hitOf(t, 0, replaced, 0), hitOf(t, 0, between, 0)}
		hits[0].HasScore, hits[1].HasScore = false, false
		return store.Answer{Hits: hits}, nil
	})
	res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: contextCue(&pb.ContextCue{})})
	if err != nil || idsOf(res.GetMemories()) != "[2 between 1 0]" || res.GetMemories()[0].GetContent() != "two" {
		t.Errorf("%v, %v", res.GetMemories(), err)
	}
	// Without the store the pending ones answer alone.
	e.store.set(func(store.Query) (store.Answer, error) { return store.Answer{}, store.Unavailable(errDisk) })
	for name, cue := range map[string]*pb.Cue{"context": contextCue(&pb.ContextCue{}), "words": words("zero one two")} {
		var header metadata.MD
		res, err = e.Recall(e.ctx, &pb.RecallRequest{Cue: cue}, grpc.Header(&header))
		if got := header.Get(partialKey); err != nil || len(res.GetMemories()) != 3 || len(got) != 1 || got[0] != partialStore {
			t.Errorf("%s, without the store: %v, %v, %v", name, idsOf(res.GetMemories()), got, err)
		}
	}
}

// TestContextAtAnEngramServer: what the server says comes in its own order, behind what is pending.
func TestContextAtAnEngramServer(t *testing.T) {
	e := newEdge(t, Config{})
	e.store.can = store.Capabilities{Name: "engram", Cues: []store.Cue{store.CueContext}}
	e.told("zero", "one")
	e.store.set(func(q store.Query) (store.Answer, error) {
		if len(q.Raw) == 0 {
			return store.Answer{}, store.Permanent(fmt.Errorf("no cue"))
		}
		return store.Answer{Hits: []store.Hit{{ID: "y", Form: store.FormMemory}, {ID: "x", Form: store.FormMemory}}}, nil
	})
	res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: contextCue(&pb.ContextCue{})})
	if err != nil || idsOf(res.GetMemories()) != "[1 0 y x]" {
		t.Errorf("%v, %v", idsOf(res.GetMemories()), err)
	}
}

func TestBadCuesOfOtherKinds(t *testing.T) {
	e := newEdge(t, Config{})
	e.store.can = allCues
	late, early := timestamppb.New(noon), timestamppb.New(noon.Add(-1))
	strict := words("tea")
	strict.GetSemantic().FuzzyThreshold = 2
	nowhere := cueOf(vector(1))
	nowhere.GetEmbedding().SimilarityThreshold = float32(math.NaN())
	for text, cue := range map[string]*pb.Cue{
		"cue.semantic.query: expected a text":                               words(" "),
		"cue.semantic.fuzzy_threshold: expected a number in [-1, 1], got 2": strict,
		"similarity_threshold: expected a number in [-1, 1], got NaN":       nowhere,
		"cue.context.time_start: expected a time before time_end (2026":     contextCue(&pb.ContextCue{TimeStart: late, TimeEnd: early}),
		"time_end: expected a time within the years 1 to 9999":              contextCue(&pb.ContextCue{TimeEnd: &timestamppb.Timestamp{Seconds: math.MaxInt64}}),
	} {
		_, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: cue})
		wantStatus(t, err, codes.InvalidArgument, text)
	}
}

// TestManySupersededByPending has the store know many memories whose newer versions, unlike the cue, are pending: the ones
// behind them are found all the same.
func TestManySupersededByPending(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	const many = 100
	for i := range many {
		c.send(observationOf(uint64(i)+1, along(fmt.Sprint(i), -0.5)))
		if c.recv().GetAck() == nil {
			t.Fatal("not acked")
		}
	}
	e.store.set(func(q store.Query) (store.Answer, error) {
		var hits []store.Hit
		for i := range min(many+3, q.K) {
			hits = append(hits, hitOf(t, 0, along(fmt.Sprint(i), 0.9), 1-float32(i)/1000))
		}
		return store.Answer{Hits: hits}, nil
	})
	res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: cueOf(along("", 1).GetEmbedding()), MaxResults: 3})
	if err != nil || idsOf(res.GetMemories()) != "[100 101 102]" {
		t.Errorf("found %s, %v", idsOf(res.GetMemories()), err)
	}
}

// watchedStream is the server's side of a recall stream.
type watchedStream struct {
	grpc.ServerStream
	ctx     context.Context
	request proto.Message
	sent    func(*pb.StreamingRecallResponse)
}

func (w *watchedStream) Context() context.Context    { return w.ctx }
func (w *watchedStream) SetHeader(metadata.MD) error { return nil }

func (w *watchedStream) RecvMsg(m any) error {
	b, err := proto.Marshal(w.request)
	*m.(*Frame) = b //nolint:forcetypeassert,errcheck // it is what the edge receives into
	return err
}

func (w *watchedStream) SendMsg(m any) error { w.sent(m.(*pb.StreamingRecallResponse)); return nil } //nolint:errcheck,forcetypeassert // a test's

// TestFirstBatchDoesNotWaitForTheLast changes, when the first batch is sent, what the last will be made of.
func TestFirstBatchDoesNotWaitForTheLast(t *testing.T) {
	e := newEdge(t, Config{})
	var hits []store.Hit
	for i := range 2 * resultsPerAnswer {
		hits = append(hits, hitOf(t, 0, along(fmt.Sprintf("%02d", i), 0.5), 1-float32(i)/100))
	}
	e.store.set(func(store.Query) (store.Answer, error) { return store.Answer{Hits: hits}, nil })
	var batches []*pb.StreamingRecallResponse
	stream := &watchedStream{ctx: e.ctx, request: &pb.StreamingRecallRequest{Cue: cueOf(vector(1)), MaxResults: uint32(len(hits))}}
	stream.sent = func(b *pb.StreamingRecallResponse) {
		if batches = append(batches, b); len(batches) == 1 {
			last := &hits[len(hits)-1]
			copy(last.Body, bytes.ReplaceAll(last.Body, []byte("what"), []byte("made")))
		}
	}
	if err := e.recallStream(nil, stream); err != nil {
		t.Fatal(err)
	}
	if len(batches) != 2 || batches[1].GetResults()[resultsPerAnswer-1].GetContent() != "made 31" {
		t.Errorf("%d batches, the last memory is %q", len(batches), batches[len(batches)-1].GetResults()[resultsPerAnswer-1].GetContent())
	}
}

// A cue has a threshold of its kind's own, and one that every cue may have: the stricter counts.
func TestTheStricterThresholdCounts(t *testing.T) {
	for _, row := range []struct{ own, common, want float32 }{{0.2, 0.5, 0.5}, {0.5, 0.2, 0.5}, {-0.5, 0, -0.5}, {0, 0.3, 0.3}, {-1, 1, 1}} {
		if got, err := threshold("own", row.own, row.common); err != nil || got != row.want {
			t.Errorf("%v and %v come to %v, %v; want %v", row.own, row.common, got, err, row.want)
		}
	}
	nan := float32(math.NaN())
	for says, row := range map[string][2]float32{
		"own: expected a number in [-1, 1], got 1.5":                  {1.5, 0},
		"own: expected a number in [-1, 1], got NaN":                  {nan, 0},
		"cue.threshold.value: expected a number in [-1, 1], got -1.5": {0, -1.5},
	} {
		if _, err := threshold("own", row[0], row[1]); err == nil || err.Error() != says {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}
