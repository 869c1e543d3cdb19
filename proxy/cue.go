package proxy

import (
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/embedding"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// query makes a store's query of a cue, but for Raw.
func (s *Server) query(space string, cue *pb.Cue, limit int64) (store.Query, error) {
	name, err := s.spaceOf([]byte(space))
	if err != nil {
		return store.Query{}, s.invalid(err)
	}
	if limit == 0 {
		limit = int64(cue.GetMaxResults())
	}
	switch {
	case limit < 0:
		return store.Query{}, s.invalid(fmt.Errorf("max_results: expected 0 (%d) or more, got %d", defaultResults, limit))
	case limit == 0:
		limit = defaultResults
	}
	q := store.Query{Cue: cueKind(cue), Space: name, K: int(min(limit, maxResults)), Threshold: cue.GetThreshold().GetValue()}
	if q.Cue == "" {
		return store.Query{}, s.invalid(fmt.Errorf("cue: expected one of %s, got none", s.cues()))
	}
	if can := s.deps.Store.Capabilities(); q.Cue != store.CueEmbedding && !can.Can(q.Cue) {
		return store.Query{}, status.Errorf(codes.Unimplemented, "cue: the %s store can be asked by %s, not by %s", can.Name, s.cues(), q.Cue)
	}
	if err := s.fill(&q, cue); err != nil {
		return store.Query{}, s.invalid(err)
	}
	return q, nil
}

// fill puts into the query what its kind of cue says.
func (s *Server) fill(q *store.Query, cue *pb.Cue) (err error) {
	switch q.Cue {
	case store.CueEmbedding:
		q.Vector = cue.GetEmbedding().GetVector()
		q.Threshold, err = threshold("cue.embedding.similarity_threshold", cue.GetEmbedding().GetSimilarityThreshold(), q.Threshold)
		if err == nil {
			err = checkVector(q.Vector)
		}
	case store.CueSemantic:
		m := cue.GetSemantic()
		q.Text, q.Filter = m.GetQuery(), store.Filter{With: m.GetRequiredTags(), Without: m.GetExcludedTags()}
		if strings.TrimSpace(q.Text) == "" {
			return fmt.Errorf("cue.semantic.query: expected a text, got %q", q.Text)
		}
		if s.deps.Store.Capabilities().TextAsVector {
			q.Vector = embedding.Text(q.Text)
		}
		q.Threshold, err = threshold("cue.semantic.fuzzy_threshold", m.GetFuzzyThreshold(), q.Threshold)
	case store.CueContext:
		q.Filter, err = circumstances(cue.GetContext())
	}
	return err
}

// threshold is the stricter of a cue's own and the one that every cue can have.
func threshold(field string, own, common float32) (float32, error) {
	for name, v := range map[string]float32{field: own, "cue.threshold.value": common} {
		if !(v >= -1 && v <= 1) { // written so that NaN is refused too
			return 0, fmt.Errorf("%s: expected a number in [-1, 1], got %v", name, v)
		}
	}
	if common == 0 {
		return own, nil
	}
	return max(own, common), nil
}

// circumstances makes a filter of a context cue.
func circumstances(c *pb.ContextCue) (store.Filter, error) {
	f := store.Filter{Place: c.GetLocation(), People: c.GetParticipants()}
	var err error
	if f.From, err = timeOf("cue.context.time_start", c.GetTimeStart()); err != nil {
		return f, err
	}
	if f.To, err = timeOf("cue.context.time_end", c.GetTimeEnd()); err != nil {
		return f, err
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return f, fmt.Errorf("cue.context.time_start: expected a time before time_end (%s), got %s",
			f.To.Format(time.RFC3339Nano), f.From.Format(time.RFC3339Nano))
	}
	return f, nil
}

// timeOf is the time in a field, zero for none.
func timeOf(field string, at *timestamppb.Timestamp) (time.Time, error) {
	if at == nil {
		return time.Time{}, nil
	}
	if err := at.CheckValid(); err != nil {
		return time.Time{}, fmt.Errorf("%s: expected a time within the years 1 to 9999: %w", field, err)
	}
	return at.AsTime(), nil
}

// cues names the kinds of cue that can be answered.
func (s *Server) cues() string {
	names := []string{string(store.CueEmbedding)}
	for _, cue := range s.deps.Store.Capabilities().Cues {
		if cue != store.CueEmbedding {
			names = append(names, string(cue))
		}
	}
	return strings.Join(names, ", ")
}

func cueKind(cue *pb.Cue) store.Cue {
	switch cue.GetCueType().(type) {
	case *pb.Cue_Embedding:
		return store.CueEmbedding
	case *pb.Cue_Context:
		return store.CueContext
	case *pb.Cue_Temporal:
		return store.CueTemporal
	case *pb.Cue_Semantic:
		return store.CueSemantic
	case *pb.Cue_Pattern:
		return store.CuePattern
	default:
		return ""
	}
}

func checkVector(v []float32) error {
	if len(v) != store.Dimensions {
		return fmt.Errorf("cue.embedding.vector: expected %d dimensions, got %d", store.Dimensions, len(v))
	}
	for i, x := range v {
		if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("cue.embedding.vector[%d]: expected a finite number, got %v", i, x)
		}
	}
	return nil
}
