package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// partialKey is the header that says what an answer lacks, and the values it may have.
const (
	partialKey       = "engram-partial"
	partialStore     = "store-unavailable"
	partialPending   = "pending"
	defaultResults   = 10
	maxResults       = 10_000
	resultsPerAnswer = 16 // of a recall stream: some 50 KB
)

// recall serves Recall.
func (s *Server) recall(ctx context.Context, request Frame) (any, error) {
	var r pb.RecallRequest
	if err := proto.Unmarshal(request, &r); err != nil {
		return nil, s.invalid(fmt.Errorf("malformed RecallRequest: %w", err))
	}
	answer, err := s.answer(ctx, &r)
	if err != nil {
		return nil, err
	}
	if md := answer.lacks(); md != nil {
		if err := grpc.SetHeader(ctx, md); err != nil {
			return nil, err
		}
	}
	return answer.response(&r), nil
}

// streamingRecall serves StreamingRecall: each request is answered before the next is looked at.
func (s *Server) streamingRecall(_ any, stream grpc.ServerStream) error {
	requests := make(chan *pb.RecallRequest)
	var ended error       // why there are no more; set before requests is closed
	s.streams.Go(func() { // ends with the client's requests, or when this handler has returned; Run waits for it
		defer close(requests)
		for {
			r := new(pb.RecallRequest)
			if ended = s.receive(stream, r); ended != nil {
				return
			}
			select {
			case requests <- r:
			case <-stream.Context().Done():
				return
			}
		}
	})
	for answered := false; ; answered = true {
		select {
		case <-s.stopping:
			return errStoppingCall()
		case r, ok := <-requests:
			if !ok && errors.Is(ended, io.EOF) {
				return nil // the client has half-closed
			}
			if !ok {
				return cmp.Or(ended, stream.Context().Err())
			}
			if err := s.answerOne(stream, r, answered); err != nil {
				return err
			}
		}
	}
}

// answerOne answers one request of a StreamingRecall. What an answer lacks is said in the trailer, and where it is the
// first one in the header too.
func (s *Server) answerOne(stream grpc.ServerStream, r *pb.RecallRequest, answered bool) error {
	answer, err := s.answer(stream.Context(), r)
	if err != nil {
		return err
	}
	if md := answer.lacks(); md != nil {
		stream.SetTrailer(md)
		if !answered {
			if err := stream.SetHeader(md); err != nil {
				return err
			}
		}
	}
	return stream.SendMsg(answer.response(r))
}

// answer asks what a RecallRequest asks.
func (s *Server) answer(ctx context.Context, r *pb.RecallRequest) (*answerSet, error) {
	q, err := s.query(r.GetMemorySpaceId(), r.GetCue(), int64(r.GetMaxResults()))
	if err != nil {
		return nil, err
	}
	r.MemorySpaceId = q.Space
	if q.Raw, err = proto.Marshal(r); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "RecallRequest: %v", err)
	}
	return s.ask(ctx, q)
}

// answerSet is what is known about a question, best first.
type answerSet struct {
	hits       []store.Hit
	considered int
	above      int
	partial    []string // what is missing, as the header names it
	raw        []byte   // see store.Answer
	took       time.Duration
}

// lacks is the metadata that says what the answer lacks, or nil.
func (a *answerSet) lacks() metadata.MD {
	if len(a.partial) == 0 {
		return nil
	}
	return metadata.Pairs(partialKey, strings.Join(a.partial, ", "))
}

// response makes the answer to a RecallRequest.
func (a *answerSet) response(r *pb.RecallRequest) *pb.RecallResponse {
	var out pb.RecallResponse
	if len(a.raw) > 0 && proto.Unmarshal(a.raw, &out) != nil {
		out.Reset() // an Engram server's own remarks on its answer are not worth failing for
	}
	out.Memories = memoriesOf(a.hits)
	if out.GetRecallConfidence() == nil && len(a.hits) > 0 {
		out.RecallConfidence = &pb.Confidence{Value: min(max(a.hits[0].Score, 0), 1)}
	}
	if r.GetIncludeMetadata() && out.GetMetadata() == nil {
		out.Metadata = a.metadata()
	}
	return &out
}

func (a *answerSet) metadata() *pb.RecallMetadata {
	var sum float64
	for i := range a.hits {
		sum += float64(a.hits[i].Score)
	}
	return &pb.RecallMetadata{
		TotalActivated: clampInt32(a.considered), AboveThreshold: clampInt32(a.above),
		AvgActivation: float32(sum / float64(max(len(a.hits), 1))), RecallTimeMs: a.took.Milliseconds(),
	}
}

func clampInt32(n int) int32 { return int32(min(n, math.MaxInt32)) } //nolint:gosec // just bounded
