package proxy

import (
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// recallStream serves RecallStream: one question, its answer in batches, best first.
func (s *Server) recallStream(_ any, stream grpc.ServerStream) error {
	var r pb.StreamingRecallRequest
	if err := s.receive(stream, &r); err != nil {
		return err
	}
	q, err := s.streamQuery(&r)
	if err != nil {
		return err
	}
	linked := s.link(r.GetSessionId(), &q) // before the pending set is pinned: what was durable by now is in it
	answer, err := s.ask(stream.Context(), q)
	if err != nil {
		return err
	}
	if md := answer.lacks(); md != nil {
		if err := stream.SetHeader(md); err != nil {
			return err
		}
	}
	hits := answer.hits
	for first := true; first || len(hits) > 0; first = false {
		n := min(len(hits), resultsPerAnswer)
		batch := &pb.StreamingRecallResponse{ // made when its turn comes: the first does not wait for the last
			Results: memoriesOf(hits[:n]), MoreResults: n < len(hits), SnapshotSequence: linked.visible(answer),
		}
		if hits = hits[n:]; len(hits) == 0 {
			batch.Metadata = answer.metadata()
		}
		if err := stream.SendMsg(batch); err != nil {
			return err
		}
	}
	return nil
}

// streamQuery makes a store's query of the request.
func (s *Server) streamQuery(r *pb.StreamingRecallRequest) (store.Query, error) {
	q, err := s.query(r.GetMemorySpaceId(), r.GetCue(), int64(r.GetMaxResults()))
	if err != nil {
		return q, err
	}
	q.Committed = r.GetSnapshotIsolation()
	if at := r.GetSnapshotTime(); at != nil {
		upTo, err := timeOf("snapshot_time", at)
		if err != nil {
			return q, s.invalid(err)
		}
		if c := s.deps.Store.Capabilities(); !c.CommitTimes {
			return q, status.Errorf(codes.Unimplemented, "snapshot_time: the %s store keeps no commit times; leave it out", c.Name)
		}
		q.Before = upTo.Add(1) // the request's own moment is still in it
	}
	raw := &pb.RecallRequest{MemorySpaceId: q.Space, Cue: r.GetCue(), MaxResults: clampInt32(q.K)}
	if q.Raw, err = proto.Marshal(raw); err != nil {
		return q, s.invalid(err)
	}
	return q, nil
}

// link is how much of a session an answer shows.
type link struct {
	durable  uint64 // acked, or could have been, before the pending set was pinned
	settled  uint64 // and in the store by then, or a dead letter
	isolated bool
	past     bool // the answer shows an earlier moment, and nothing here knows how far the session was then
}

// link looks at the session that a request names. An unknown one shows nothing.
func (s *Server) link(text string, q *store.Query) link {
	id, err := wal.ParseSessionID(text)
	if err != nil {
		return link{}
	}
	l := link{
		settled: s.deps.Settlement.Through(id), isolated: q.Committed,
		past: !q.Before.IsZero() && q.Before.Before(time.Now()),
	}
	if durable, ok := s.sessions.Durable(id); ok {
		l.durable = durable
	}
	return l
}

// visible is the highest sequence such that it and all before it are in the answer's reach. A dead letter counts as seen.
func (l link) visible(a *answerSet) uint64 {
	switch {
	case l.past, slices.Contains(a.partial, partialStore):
		return 0 // what was delivered cannot be seen
	case l.isolated, slices.Contains(a.partial, partialPending):
		return l.settled
	default:
		return max(l.durable, l.settled)
	}
}
