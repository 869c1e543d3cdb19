package engram

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// Fields of the messages that are taken apart or added to here.
const (
	requestSpace      protowire.Number = 1  // RecallRequest.memory_space_id
	requestMaxResults protowire.Number = 10 // RecallRequest.max_results
	responseMemories  protowire.Number = 1  // RecallResponse.memories
)

// Recall asks the server and returns its memories: those with an embedding first, by cosine, the others behind them in the
// server's order. Body is the Memory as the server sent it. The server keeps no versions and no commit times; Before is
// not looked at.
func (s *Store) Recall(ctx context.Context, q store.Query) (store.Answer, error) {
	request, err := recallRequest(q)
	if err != nil {
		return store.Answer{}, store.Permanent(fmt.Errorf("engram at %s: %w", s.cfg.Address, err))
	}
	var response raw
	if err := s.call(ctx, engramv1.EngramService_Recall_FullMethodName, request, &response); err != nil {
		return store.Answer{}, s.classify(err)
	}
	answer, err := readAnswer(response, q)
	if err != nil {
		return store.Answer{}, fmt.Errorf("engram at %s: Recall: %w", s.cfg.Address, err)
	}
	return answer, nil
}

// recallRequest is the client's own, where there is one, with the resolved space and count at its end, where they win.
func recallRequest(q store.Query) (raw, error) {
	if err := checkVector(q); err != nil {
		return nil, err
	}
	b := slices.Clone(q.Raw)
	if b == nil {
		var err error
		if b, err = proto.Marshal(&engramv1.RecallRequest{Cue: embeddingCue(q), IncludeMetadata: true}); err != nil {
			return nil, fmt.Errorf("encode the cue: %w", err)
		}
	}
	b = protowire.AppendTag(b, requestSpace, protowire.BytesType)
	b = protowire.AppendString(b, q.Space)
	if q.K > 0 {
		b = protowire.AppendTag(b, requestMaxResults, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(q.K))
	}
	return b, nil
}

// checkVector refuses what a server would refuse, and what it would take and compare with nothing.
func checkVector(q store.Query) error {
	if q.Vector == nil && q.Raw != nil {
		return nil
	}
	if len(q.Vector) != store.Dimensions {
		return fmt.Errorf("embedding: expected %d dimensions, got %d", store.Dimensions, len(q.Vector))
	}
	for i, v := range q.Vector {
		if x := float64(v); math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("embedding[%d]: expected a finite number, got %v", i, v)
		}
	}
	return nil
}

// embeddingCue names the threshold even where it is 0: without one the server takes its own, 0.7.
func embeddingCue(q store.Query) *engramv1.Cue {
	return &engramv1.Cue{
		CueType:    &engramv1.Cue_Embedding{Embedding: &engramv1.EmbeddingCue{Vector: q.Vector, SimilarityThreshold: q.Threshold}},
		Threshold:  &engramv1.Confidence{Value: q.Threshold},
		MaxResults: int32(min(q.K, math.MaxInt32)), //nolint:gosec // bounded
	}
}

// readAnswer takes the hits out of a RecallResponse.
func readAnswer(response raw, q store.Query) (store.Answer, error) {
	answer := store.Answer{Raw: response}
	seen := make(map[string]bool)
	for b := []byte(response); len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return store.Answer{}, fmt.Errorf("decode the answer: %w", protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(num, typ, b[n:])
		if size < 0 {
			return store.Answer{}, fmt.Errorf("decode the answer: %w", protowire.ParseError(size))
		}
		if num == responseMemories && typ == protowire.BytesType {
			body, _ := protowire.ConsumeBytes(b[n:])
			hit, err := readHit(body, q)
			if err != nil {
				return store.Answer{}, err
			}
			if !seen[hit.ID] && !(hit.HasScore && hit.Score < q.Threshold) {
				seen[hit.ID] = true
				answer.Hits = append(answer.Hits, hit)
			}
		}
		b = b[n+size:]
	}
	slices.SortStableFunc(answer.Hits, better)
	if q.K > 0 && len(answer.Hits) > q.K {
		answer.Hits = slices.Clip(answer.Hits[:q.K])
	}
	return answer, nil
}

// better orders hits with a cosine by it, and those without behind them as they came.
func better(a, b store.Hit) int {
	if a.HasScore != b.HasScore {
		if a.HasScore {
			return -1
		}
		return 1
	}
	if !a.HasScore {
		return 0
	}
	return cmp.Compare(b.Score, a.Score)
}

// readHit looks into one Memory. Without an embedding its Score is how strongly the server says it was activated, which
// compares with nothing else.
func readHit(body []byte, q store.Query) (store.Hit, error) {
	var m engramv1.Memory
	if err := proto.Unmarshal(body, &m); err != nil {
		return store.Hit{}, fmt.Errorf("decode a memory of the answer: %w", err)
	}
	hit := store.Hit{ID: m.GetId(), Form: store.FormMemory, Body: body, Score: m.GetActivation()}
	if hit.Score == 0 {
		hit.Score = m.GetConfidence().GetValue()
	}
	if score, ok := cosine(q.Vector, m.GetEmbedding()); ok {
		hit.Score, hit.HasScore = score, true
	}
	return hit, nil
}

// cosine is the cosine of the angle between a and b, where there is one: both of the one length and neither all zeros,
// which is what a server sends that keeps the embedding to itself.
func cosine(a, b []float32) (float32, bool) {
	if len(a) != len(b) {
		return 0, false
	}
	var dot, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot += x * y
		aa += x * x
		bb += y * y
	}
	score := dot / math.Sqrt(aa*bb)
	return float32(score), !math.IsNaN(score)
}
