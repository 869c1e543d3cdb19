package proxy

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// How many events may wait for a subscriber: where it has no wish, and at most.
const (
	eventsDefault = 256
	eventsMost    = 4096
)

// subscription is one client's wish to hear what becomes of the memories of a space. Events wait in it, at most so many:
// with one more the subscriber is too slow, and is dropped.
type subscription struct {
	space      string
	importance float32 // events about less important memories are left out
	pressure   bool    // the client wants to be told of it too
	limit      int
	sequence   int64 // of the request

	arrived chan struct{} // cap 1: there is something to take

	mu      sync.Mutex
	waiting []event
	dropped bool
}

// event is what became of one memory.
type event struct {
	fate       wal.Fate
	id         string
	session    wal.SessionID
	sequence   uint64
	reason     string
	importance float32
	at         time.Time
}

// report takes in what became of a record. It is the forwarder's call, and does not wait.
func (s *subscription) report(r *wal.Record, fate wal.Fate, reason string) {
	if r.Space != s.space {
		return
	}
	importance := importanceOf(r)
	if importance < s.importance {
		return
	}
	s.mu.Lock()
	switch {
	case s.dropped:
	case len(s.waiting) == s.limit:
		s.dropped, s.waiting = true, nil
	default:
		s.waiting = append(s.waiting, event{
			fate: fate, id: string(r.ID), session: r.Session, sequence: r.Sequence, reason: reason, importance: importance, at: time.Now(),
		})
	}
	s.mu.Unlock()
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// found is what a look at a subscription comes to.
type found uint8

const (
	eventsNone    found = iota
	eventTaken          // it was removed
	eventsHeld          // there is one, and it may not be taken now
	eventsDropped       // there were too many
)

// take removes the oldest event, if it may.
func (s *subscription) take(may bool) (e event, f found) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.dropped:
		return event{}, eventsDropped
	case len(s.waiting) == 0:
		return event{}, eventsNone
	case !may:
		return event{}, eventsHeld
	}
	e = s.waiting[0]
	if s.waiting = s.waiting[1:]; len(s.waiting) == 0 {
		s.waiting = nil
	}
	return e, eventTaken
}

// importanceOf is the importance that the episode of a write gives itself; a memory gives none.
func importanceOf(r *wal.Record) float32 {
	switch r.Form {
	case wal.FormEpisode:
		return envelope.ImportanceOf(r.Payload, 0)
	case wal.FormRemember:
		return envelope.ImportanceOf(r.Payload, 3)
	case wal.FormExperience:
		return envelope.ImportanceOf(r.Payload, 2)
	default:
		return 0
	}
}

// response shows an event as clients get it.
func (e *event) response(space string) *pb.StreamResponse {
	res := &pb.StreamResponse{
		EventType: pb.StreamEventType_STREAM_EVENT_TYPE_STORAGE, Timestamp: timestamppb.New(e.at), Importance: e.importance,
		Metadata: map[string]string{"memory_space_id": space, "memory_id": e.id},
	}
	switch e.fate {
	case wal.Delivered:
		res.Description, res.Metadata["event"] = "the store has the memory", "stored"
	case wal.Dead:
		res.Description, res.Metadata["event"] = "the store has refused the memory for good: it is kept as a dead letter", "dead-lettered"
	default:
		res.Description, res.Metadata["event"] = "the memory is damaged in the journal and cannot be stored", "damaged"
	}
	if e.reason != "" {
		res.Metadata["reason"] = strings.ToValidUTF8(e.reason, "\uFFFD")
	}
	if !e.session.IsZero() {
		res.Metadata["session_id"], res.Metadata["sequence_number"] = e.session.String(), strconv.FormatUint(e.sequence, 10)
	}
	return res
}
