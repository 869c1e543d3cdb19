package integration

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// flow is one MemoryFlow, message by message.
type flow struct {
	t      testing.TB
	stream grpc.BidiStreamingClient[engramv1.MemoryFlowRequest, engramv1.MemoryFlowResponse]
	events []*engramv1.StreamResponse // that came before the last answer
}

func newFlow(t testing.TB, conn *grpc.ClientConn) *flow {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	t.Cleanup(cancel)
	stream, err := engramv1.NewEngramServiceClient(conn).MemoryFlow(ctx, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return &flow{t: t, stream: stream}
}

// ask sends a request and returns its answer; events that come before it are noted.
func (f *flow) ask(sequence int64, session string, r *engramv1.MemoryFlowRequest) *engramv1.MemoryFlowResponse {
	f.t.Helper()
	r.SequenceNumber, r.SessionId = sequence, session
	if err := f.stream.Send(r); err != nil {
		f.t.Fatal(err)
	}
	for {
		answer, err := f.stream.Recv()
		if err != nil {
			f.t.Fatalf("waiting for the answer to %d: %v", sequence, err)
		}
		if e := answer.GetEvent(); e != nil {
			f.events = append(f.events, e)
			continue
		}
		if answer.GetSequenceNumber() != sequence || answer.GetSessionId() == "" {
			f.t.Fatalf("answer %v, expected one to %d", answer, sequence)
		}
		return answer
	}
}

// heard waits for an event about a memory.
func (f *flow) heard(what, id string) {
	f.t.Helper()
	for {
		for _, e := range f.events {
			if e.GetMetadata()["event"] == what && e.GetMetadata()["memory_id"] == id {
				return
			}
		}
		answer, err := f.stream.Recv()
		if err != nil {
			f.t.Fatalf("waiting for %s of %s: %v", what, id, err)
		}
		if e := answer.GetEvent(); e != nil {
			f.events = append(f.events, e)
		}
	}
}

func rememberOnFlow(e *engramv1.Episode) *engramv1.MemoryFlowRequest {
	return &engramv1.MemoryFlowRequest{Request: &engramv1.MemoryFlowRequest_Remember{Remember: &engramv1.RememberRequest{
		MemoryType: &engramv1.RememberRequest_Episode{Episode: e},
	}}}
}

func recallOnFlow(e *engramv1.Episode) *engramv1.MemoryFlowRequest {
	return &engramv1.MemoryFlowRequest{Request: &engramv1.MemoryFlowRequest_Recall{Recall: &engramv1.RecallRequest{
		MaxResults: 1, Cue: &engramv1.Cue{CueType: &engramv1.Cue_Embedding{Embedding: &engramv1.EmbeddingCue{Vector: e.GetEmbedding()}}},
	}}}
}

var subscribeOnFlow = engramv1.MemoryFlowRequest_Subscribe{Subscribe: &engramv1.StreamSubscription{BufferSize: 1000}}

func flowEpisode(n uint64) *engramv1.Episode {
	e := harness.EpisodeOf(harness.Observation{Session: "flow", Sequence: n})
	e.Id = fmt.Sprintf("flow-%d", n)
	return e
}

// TestMemoryFlow remembers, recalls and hears of it on one stream, and goes on after a kill -9 as the same session: what was
// answered is there.
func TestMemoryFlow(t *testing.T) {
	s := serving(t)
	conn := s.Connect()
	f := newFlow(t, conn)
	first := f.ask(1, "", &engramv1.MemoryFlowRequest{Request: &subscribeOnFlow})
	if first.GetStatus().GetState() != engramv1.FlowStatus_STATE_ACTIVE {
		t.Fatalf("answer %v, expected ACTIVE", first)
	}
	session := first.GetSessionId()
	const count = 50
	for n := uint64(1); n <= count; n++ {
		if a := f.ask(int64(n), session, rememberOnFlow(flowEpisode(n))); a.GetRememberResult().GetMemoryId() != flowEpisode(n).GetId() {
			t.Fatalf("answer %v, expected the memory's id", a)
		}
	}
	if m := f.ask(7, "", recallOnFlow(flowEpisode(33))).GetRecallResult().GetMemories(); len(m) != 1 || m[0].GetId() != "flow-33" {
		t.Errorf("recalled %v, expected flow-33", m)
	}
	f.heard("stored", "flow-1")
	f.heard("stored", "flow-50")

	s.Kill()
	s.Start()
	f = newFlow(t, conn)
	if m := f.ask(1, session, recallOnFlow(flowEpisode(50))).GetRecallResult().GetMemories(); len(m) != 1 || m[0].GetId() != "flow-50" {
		t.Errorf("recalled %v, expected flow-50", m)
	}
	f.ask(2, session, rememberOnFlow(flowEpisode(51)))
	if err := f.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if b := s.Drained(); b.Accepted != count+1 || b.Delivered != count+1 {
		t.Errorf("balance %+v, expected %d accepted and delivered", b, count+1)
	}
	unknown := newFlow(t, conn)
	if err := unknown.stream.Send(&engramv1.MemoryFlowRequest{SessionId: "3b241101-e2bb-4255-8caf-4136c566a962"}); err != nil {
		t.Fatal(err)
	}
	if _, err := unknown.stream.Recv(); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown session: %v, expected NOT_FOUND", err)
	}
}

// TestFlowSubscriberThatDoesNotReadHoldsNobodyUp: the store goes on, and the subscriber is told that it was dropped.
func TestFlowSubscriberThatDoesNotReadHoldsNobodyUp(t *testing.T) {
	s := serving(t)
	conn := s.Connect()
	slow := newFlow(t, conn)
	slow.ask(1, "", &engramv1.MemoryFlowRequest{Request: &engramv1.MemoryFlowRequest_Subscribe{Subscribe: &engramv1.StreamSubscription{BufferSize: 8}}})
	const count = 6000
	k := newTalk(t, conn)
	k.init("")
	go func() {
		for n := uint64(1); n <= count; n++ {
			if k.stream.Send(nth(n)) != nil {
				return
			}
		}
	}()
	for n := uint64(1); n <= count; n++ {
		k.acked(n)
	}
	if b := s.Drained(); b.Delivered != count {
		t.Errorf("balance %+v, expected %d delivered", b, count)
	}
	for {
		answer, err := slow.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if st := answer.GetStatus(); st != nil {
			if st.GetState() != engramv1.FlowStatus_STATE_ERROR || answer.GetSequenceNumber() != 1 {
				t.Errorf("answer %v, expected to hear that the subscription is dropped", answer)
			}
			break
		}
	}
}
