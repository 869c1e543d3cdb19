package integration

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// cueOf looks for an observation by its own embedding.
func cueOf(e *engramv1.Episode) *engramv1.Cue {
	return &engramv1.Cue{CueType: &engramv1.Cue_Embedding{Embedding: &engramv1.EmbeddingCue{Vector: e.GetEmbedding()}}}
}

func TestAckedIsRecalledAtOnce(t *testing.T) {
	t.Run("from the embedded store", func(t *testing.T) {
		s := serving(t)
		recalled(t, s, observeAndAck(t, s, 200), "")
		s.Drained()
		recalled(t, s, nth(200).GetObservation().GetId(), "")
	})
	t.Run("while the store is down", func(t *testing.T) {
		s := serving(t, "--store", "engram://"+harness.FreeAddress(t))
		recalled(t, s, observeAndAck(t, s, 20), "store-unavailable")
	})
	t.Run("after a kill", func(t *testing.T) {
		s := serving(t)
		id := observeAndAck(t, s, 200)
		s.Kill()
		s.Start()
		recalled(t, s, id, "")
	})
}

// observeAndAck sends so many observations and returns the memory id of the last one.
func observeAndAck(t *testing.T, s *harness.Sidecar, count uint64) (id string) {
	t.Helper()
	k := newTalk(t, s.Connect())
	k.init("")
	for n := uint64(1); n <= count; n++ {
		k.send(nth(n))
	}
	for n := uint64(1); n <= count; n++ {
		id = k.acked(n).GetMemoryId()
	}
	return id
}

// recalled expects the last of observeAndAck's memories as the best answer to its own embedding, by both calls.
func recalled(t *testing.T, s *harness.Sidecar, id, partial string) {
	t.Helper()
	rpc := engramv1.NewEngramServiceClient(s.Connect())
	last := nth(20).GetObservation()
	if partial == "" {
		last = nth(200).GetObservation()
	}

	var header metadata.MD
	answer, err := rpc.Recall(t.Context(), &engramv1.RecallRequest{Cue: cueOf(last), MaxResults: 3}, grpc.Header(&header))
	if err != nil {
		t.Fatal(err)
	}
	expectBest(t, "Recall", answer.GetMemories(), id, last.GetWhat())
	if got := header.Get("engram-partial"); partial != "" && (len(got) != 1 || got[0] != partial) {
		t.Errorf("engram-partial: %q, expected %q", got, partial)
	}

	stream, err := rpc.RecallStream(t.Context(), &engramv1.StreamingRecallRequest{Cue: cueOf(last), MaxResults: 3})
	if err != nil {
		t.Fatal(err)
	}
	var memories []*engramv1.Memory
	for more := true; more; {
		batch, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		memories, more = append(memories, batch.GetResults()...), batch.GetMoreResults()
	}
	expectBest(t, "RecallStream", memories, id, last.GetWhat())
}

func expectBest(t *testing.T, call string, memories []*engramv1.Memory, id, content string) {
	t.Helper()
	if len(memories) == 0 || len(memories) > 3 {
		t.Fatalf("%s: %d memories, expected 1 to 3", call, len(memories))
	}
	if memories[0].GetId() != id || memories[0].GetContent() != content {
		t.Errorf("%s: best is %q %q, expected %q %q", call, memories[0].GetId(), memories[0].GetContent(), id, content)
	}
}
