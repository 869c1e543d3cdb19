package faults

import (
	"context"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// judgeEmbedded is judge for a sidecar that keeps the memories itself: each observation is looked for by its own
// embedding, and what is found is told to the oracle as if a store had received it.
func (r *rig) judgeEmbedded() {
	r.t.Helper()
	r.rest()
	r.sidecar.Drained()
	rpc := engramv1.NewEngramServiceClient(r.sidecar.Connect())
	for _, c := range r.clients {
		for sequence := uint64(1); sequence <= c.Highest; sequence++ {
			of := harness.Observation{Session: c.Name, Sequence: sequence}
			if id := recalled(r.t.Context(), r, rpc, of); id != "" {
				r.oracle.Stored(of, id, harness.DigestOf(harness.EpisodeOf(of)))
			}
		}
	}
	r.judge()
}

// recalled returns the memory id under which an observation is found, or nothing.
func recalled(ctx context.Context, r *rig, rpc engramv1.EngramServiceClient, of harness.Observation) string {
	r.t.Helper()
	cue := &engramv1.Cue{CueType: &engramv1.Cue_Embedding{
		Embedding: &engramv1.EmbeddingCue{Vector: harness.EpisodeOf(of).GetEmbedding()},
	}}
	answer, err := rpc.Recall(ctx, &engramv1.RecallRequest{Cue: cue, MaxResults: 1})
	if err != nil {
		r.t.Fatalf("recall %v: %v", of, err)
	}
	for _, m := range answer.GetMemories() {
		if m.GetContent() == of.String() {
			return m.GetId()
		}
	}
	return ""
}
