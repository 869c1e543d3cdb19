package proxy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func cueOf(v []float32) *pb.Cue {
	return &pb.Cue{CueType: &pb.Cue_Embedding{Embedding: &pb.EmbeddingCue{Vector: v}}}
}

// along makes an episode whose cosine with vector(1) is near the given one.
func along(id string, cosine float64) *pb.Episode {
	v := make([]float32, 768)
	v[1], v[2] = float32(cosine), float32(math.Sqrt(1-cosine*cosine))
	return &pb.Episode{Id: id, What: "what " + id, Embedding: v}
}

func hitOf(t *testing.T, version uint64, e *pb.Episode, score float32) store.Hit {
	t.Helper()
	body, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return store.Hit{ID: e.GetId(), Score: score, HasScore: true, Version: version, Form: wal.FormEpisode, Body: body}
}

func idsOf(memories []*pb.Memory) string {
	ids := []string{}
	for _, m := range memories {
		ids = append(ids, m.GetId())
	}
	return fmt.Sprint(ids)
}

func TestAckedCanBeRecalledAtOnce(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	c.send(observationOf(1, along("far", 0.2)))
	c.send(observationOf(2, along("near", 0.9)))
	c.observe(3) // of its own id, along vector(1)
	for range 3 {
		if c.recv().GetAck() == nil {
			t.Fatal("not acked")
		}
	}
	if _, err := e.Remember(e.ctx, rememberOf("", "other")); err != nil { // along vector(2)
		t.Fatal(err)
	}
	if _, err := e.Experience(e.ctx, &pb.ExperienceRequest{Episode: along("lived", 0.5)}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Remember(e.ctx, rememberOf("elsewhere", "hidden")); err != nil {
		t.Fatal(err)
	}
	res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: cueOf(vector(1)), MaxResults: 4, IncludeMetadata: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := idsOf(res.GetMemories()), fmt.Sprintf("[%s-3 near lived far]", c.id); got != want {
		t.Errorf("recalled %s, want %s", got, want)
	}
	best := res.GetMemories()[0]
	if best.GetActivation() < 0.99 || best.GetContent() != "something happened" || best.GetMemoryType() != pb.MemoryType_MEMORY_TYPE_EPISODIC || len(best.GetEmbedding()) != 768 {
		t.Errorf("the best is %v", best)
	}
	if md := res.GetMetadata(); md.GetTotalActivated() != 5 || md.GetAboveThreshold() != 5 || res.GetRecallConfidence().GetValue() < 0.99 {
		t.Errorf("metadata %v", md)
	}
}

func TestStoreAndPendingAreMerged(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	for i, ep := range []*pb.Episode{along("again", 0.3), along("both", 0.8), along("new", 0.7), along("again", 0.6)} {
		c.send(observationOf(uint64(i)+1, ep))
		if c.recv().GetAck() == nil {
			t.Fatal("not acked")
		}
	}
	var asked store.Query
	writes := e.journal.records(wal.KindWrite)
	e.store.set(func(q store.Query) (store.Answer, error) {
		asked = q
		unscored := hitOf(t, 0, along("unscored", 0.65), 0)
		unscored.HasScore = false
		return store.Answer{Considered: 100, Above: 40, Hits: []store.Hit{
			hitOf(t, writes[1].Index, along("both", 0.8), 0.8), // delivered between the two questions
			hitOf(t, 0, along("again", 0.99), 0.99),            // an old version, which would be the best
			hitOf(t, 0, along("stored", 0.5), 0.5),
			unscored,
		}}, nil
	})
	res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: cueOf(along("", 1).GetEmbedding()), MaxResults: 5, IncludeMetadata: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := idsOf(res.GetMemories()); got != "[both new unscored again stored]" {
		t.Errorf("recalled %s", got)
	}
	if again := res.GetMemories()[3]; again.GetActivation() > 0.61 || again.GetActivation() < 0.59 {
		t.Errorf("an old version counts: %v", again.GetActivation())
	}
	if asked.K != 8 || asked.Space != "default" || asked.Committed || len(asked.Vector) != 768 {
		t.Errorf("the store was asked for %d of %q", asked.K, asked.Space)
	}
	var raw pb.RecallRequest
	if err := proto.Unmarshal(asked.Raw, &raw); err != nil || raw.GetMemorySpaceId() != "default" {
		t.Errorf("raw %v, %v", &raw, err)
	}
	if n := res.GetMetadata().GetTotalActivated(); n != 103 {
		t.Errorf("%d were considered, want 100 and 3 pending", n)
	}
}

func TestThresholdAndLimit(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	for i := range 40 {
		c.send(observationOf(uint64(i)+1, along(fmt.Sprint(i), float64(i%20)/20)))
		if c.recv().GetAck() == nil {
			t.Fatal("not acked")
		}
	}
	cue := cueOf(along("", 1).GetEmbedding())
	cue.GetEmbedding().SimilarityThreshold = 0.89
	res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: cue})
	if err != nil || len(res.GetMemories()) != 4 {
		t.Errorf("%s, %v: want the four above the threshold", idsOf(res.GetMemories()), err)
	}
	cue.GetEmbedding().SimilarityThreshold = 0
	for want, limit := range map[int][2]int32{10: {0, 0}, 3: {3, 7}, 7: {0, 7}, 40: {100_000, 0}} {
		cue.MaxResults = limit[1]
		res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: cue, MaxResults: limit[0]})
		if err != nil || len(res.GetMemories()) != want {
			t.Errorf("limits %v gave %d, %v", limit, len(res.GetMemories()), err)
		}
	}
}

func TestBadCues(t *testing.T) {
	e := newEdge(t, Config{})
	e.store.can = store.Capabilities{Cues: []store.Cue{store.CueEmbedding, store.CueContext}}
	nan := vector(1)
	nan[5] = float32(math.Inf(1))
	for _, row := range []struct {
		name  string
		cue   *pb.Cue
		max   int32
		space string
		code  codes.Code
		texts []string
	}{
		{"none", nil, 0, "", codes.InvalidArgument, []string{"expected one of embedding, context, got none"}},
		{"3 dimensions", cueOf(vector(0)[:3]), 0, "", codes.InvalidArgument, []string{"expected 768 dimensions, got 3"}},
		{"infinite", cueOf(nan), 0, "", codes.InvalidArgument, []string{"vector[5]: expected a finite number, got +Inf"}},
		{"bad space", cueOf(vector(0)), 0, "!", codes.InvalidArgument, []string{"memory_space_id"}},
		{"negative limit", cueOf(vector(0)), -1, "", codes.InvalidArgument, []string{"max_results: expected 0 (10) or more, got -1"}},
		{"semantic", &pb.Cue{CueType: &pb.Cue_Semantic{}}, 0, "", codes.Unimplemented, []string{"fake store", "by embedding, context, not by semantic"}},
		{"temporal", &pb.Cue{CueType: &pb.Cue_Temporal{}}, 0, "", codes.Unimplemented, []string{"not by temporal"}},
		{"pattern", &pb.Cue{CueType: &pb.Cue_Pattern{}}, 0, "", codes.Unimplemented, []string{"not by pattern"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := e.Recall(e.ctx, &pb.RecallRequest{MemorySpaceId: row.space, Cue: row.cue, MaxResults: row.max})
			wantStatus(t, err, row.code, row.texts...)
		})
	}
	stream, err := e.RecallStream(e.ctx, &pb.StreamingRecallRequest{Cue: cueOf(vector(0)), SnapshotTime: timestamppb.Now()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantStatus(t, err, codes.Unimplemented, "snapshot_time", "keeps no commit times")
}

func TestOtherCuesGoToAStoreThatCan(t *testing.T) {
	e := newEdge(t, Config{})
	e.store.can = store.Capabilities{Cues: []store.Cue{store.CueSemantic}}
	remarks, err := proto.Marshal(&pb.RecallResponse{RecallConfidence: &pb.Confidence{Value: 0.25}})
	if err != nil {
		t.Fatal(err)
	}
	e.store.set(func(q store.Query) (store.Answer, error) {
		if q.Vector != nil || len(q.Raw) == 0 {
			return store.Answer{}, store.Permanent(errors.New("no cue"))
		}
		memory, err := proto.Marshal(&pb.Memory{Id: "b", Content: "two"})
		return store.Answer{Raw: remarks, Hits: []store.Hit{
			{ID: "b", Form: store.FormMemory, Body: memory},
			{ID: "a", Form: store.FormMemory, Body: memory},
		}}, err
	})
	semantic := &pb.Cue{CueType: &pb.Cue_Semantic{Semantic: &pb.SemanticCue{Query: "two"}}}
	var header metadata.MD
	if _, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: semantic}, grpc.Header(&header)); err != nil || len(header.Get("engram-partial")) != 0 {
		t.Errorf("with nothing pending: %v, %v", header, err)
	}
	if _, err := e.Remember(e.ctx, rememberOf("", "")); err != nil {
		t.Fatal(err)
	}
	res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: semantic}, grpc.Header(&header))
	if got := header.Get("engram-partial"); len(got) != 1 || got[0] != "pending" {
		t.Errorf("what is pending cannot be asked by meaning, and the header says %v", got)
	}
	if err != nil || idsOf(res.GetMemories()) != "[b a]" || res.GetRecallConfidence().GetValue() != 0.25 {
		t.Errorf("%v, %v: want the store's order and remarks", res, err)
	}
	e.store.set(func(store.Query) (store.Answer, error) { return store.Answer{}, store.Unavailable(errDisk) })
	_, err = e.Recall(e.ctx, &pb.RecallRequest{Cue: semantic})
	wantStatus(t, err, codes.Unavailable, "the store cannot be asked now")
}

func TestStoreDownLeavesWhatIsHere(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	c.observe(1)
	c.acks(1)
	for _, down := range []error{store.Unavailable(errDisk), store.Denied(errDisk), errDisk} {
		e.store.set(func(store.Query) (store.Answer, error) { return store.Answer{}, down })
		var header metadata.MD
		res, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: cueOf(vector(1))}, grpc.Header(&header))
		if err != nil || idsOf(res.GetMemories()) != "["+c.id+"-1]" {
			t.Fatalf("%v, %v", res, err)
		}
		if got := header.Get("engram-partial"); len(got) != 1 || got[0] != "store-unavailable" {
			t.Errorf("header %v", got)
		}
	}
	e.store.set(func(store.Query) (store.Answer, error) { return store.Answer{}, store.Permanent(errDisk) })
	_, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: cueOf(vector(1))})
	wantStatus(t, err, codes.InvalidArgument)
}

func TestPendingThatCannotAllBeSeen(t *testing.T) {
	e := newEdge(t, Config{})
	e.ledger.set(func() { e.ledger.visit = context.DeadlineExceeded })
	var header metadata.MD
	_, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: cueOf(vector(1))}, grpc.Header(&header))
	if got := header.Get("engram-partial"); err != nil || len(got) != 1 || got[0] != "pending" {
		t.Errorf("header %v, %v", got, err)
	}
}

// TestUndecodableRecallsAreTheClientsFault: gRPC's own decoding would call them INTERNAL.
func TestUndecodableRecallsAreTheClientsFault(t *testing.T) {
	e := newEdge(t, Config{})
	for _, method := range []string{"Recall", "StreamingRecall", "RecallStream"} {
		call := e.open(e.ctx, "/engram.v1.EngramService/"+method)
		sendFrame(t, call, notProtobuf)
		if err := call.CloseSend(); err != nil {
			t.Fatal(err)
		}
		wantStatus(t, call.RecvMsg(new(Frame)), codes.InvalidArgument)
	}
	if n := e.counts.of(ReasonInvalid); n != 3 {
		t.Errorf("%d refusals counted, want 3", n)
	}
}
