package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// flowClient is one MemoryFlow. Any failure ends the test.
type flowClient struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[pb.MemoryFlowRequest, pb.MemoryFlowResponse]
	id     string // of the session, once it is known
}

func (e *edge) flow() *flowClient {
	e.t.Helper()
	stream, err := e.MemoryFlow(e.ctx)
	if err != nil {
		e.t.Fatal(err)
	}
	return &flowClient{t: e.t, stream: stream}
}

func (c *flowClient) send(r *pb.MemoryFlowRequest) {
	c.t.Helper()
	if err := c.stream.Send(r); err != nil {
		c.t.Fatal(err)
	}
}

func (c *flowClient) remember(sequence int64, r *pb.RememberRequest) {
	c.t.Helper()
	c.send(&pb.MemoryFlowRequest{SequenceNumber: sequence, Request: &pb.MemoryFlowRequest_Remember{Remember: r}})
}

func (c *flowClient) recall(sequence int64) {
	c.t.Helper()
	c.send(&pb.MemoryFlowRequest{SequenceNumber: sequence, Request: &pb.MemoryFlowRequest_Recall{Recall: &pb.RecallRequest{Cue: cueOf(vector(2))}}})
}

func (c *flowClient) subscribe(sequence int64, s *pb.StreamSubscription) {
	c.t.Helper()
	c.send(&pb.MemoryFlowRequest{SequenceNumber: sequence, Request: &pb.MemoryFlowRequest_Subscribe{Subscribe: s}})
}

func (c *flowClient) control(sequence int64, f *pb.FlowControl) {
	c.t.Helper()
	c.send(&pb.MemoryFlowRequest{SequenceNumber: sequence, Request: &pb.MemoryFlowRequest_Control{Control: f}})
}

// recv receives an answer to the request with this number, of the stream's session.
func (c *flowClient) recv(sequence int64) *pb.MemoryFlowResponse {
	c.t.Helper()
	res, err := c.stream.Recv()
	if err != nil {
		c.t.Fatalf("waiting for the answer to %d: %v", sequence, err)
	}
	if c.id == "" {
		c.id = res.GetSessionId()
	}
	if res.GetSequenceNumber() != sequence || res.GetSessionId() == "" || res.GetSessionId() != c.id || !res.GetTimestamp().IsValid() {
		c.t.Fatalf("want an answer to %d in session %s, got %v", sequence, c.id, res)
	}
	return res
}

func (c *flowClient) remembered(sequence int64, id string) {
	c.t.Helper()
	if res := c.recv(sequence); res.GetRememberResult().GetMemoryId() != id {
		c.t.Fatalf("want the memory %q, got %v", id, res)
	}
}

func (c *flowClient) status(sequence int64, state pb.FlowStatus_State, texts ...string) *pb.FlowStatus {
	c.t.Helper()
	st := c.recv(sequence).GetStatus()
	if st.GetState() != state {
		c.t.Fatalf("want %v for %d, got %v", state, sequence, st)
	}
	for _, text := range texts {
		if !strings.Contains(st.GetMessage(), text) {
			c.t.Errorf("%q does not say %q", st.GetMessage(), text)
		}
	}
	return st
}

func (c *flowClient) end(code codes.Code, texts ...string) {
	c.t.Helper()
	res, err := c.stream.Recv()
	if err == nil {
		c.t.Fatalf("want the end, got %v", res)
	}
	wantStatus(c.t, err, code, texts...)
}

func TestFlowOpensADurableSession(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.flow()
	e.journal.hold()
	c.remember(-7, rememberOf("", "first"))
	e.journal.awaitFilling(1)
	e.journal.release()
	c.remembered(-7, "first")
	opened := e.journal.records(wal.KindSessionOpened)
	if len(opened) != 1 || opened[0].Session.String() != c.id || opened[0].Space != "default" {
		t.Fatalf("journaled as %+v", opened)
	}
	again := e.flow() // goes on as the same session, and ends the one before
	again.send(&pb.MemoryFlowRequest{SessionId: c.id, SequenceNumber: 3, Request: &pb.MemoryFlowRequest_Remember{Remember: rememberOf("", "second")}})
	again.id = c.id
	again.remembered(3, "second")
	c.end(codes.Aborted, "another stream has taken session "+c.id)
}

func TestFlowRemembersAsRememberDoes(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.flow()
	first := rememberOf("mine", "thing")
	c.remember(5, first)
	c.remembered(5, "thing")
	e.journal.hold()
	c.send(&pb.MemoryFlowRequest{MemorySpaceId: "other", SequenceNumber: 5, Request: &pb.MemoryFlowRequest_Remember{Remember: rememberOf("", "")}})
	c.remember(1, rememberOf("", "last"))
	e.journal.awaitFilling(2)
	e.journal.release()
	made := c.recv(5).GetRememberResult().GetMemoryId() // the same number again: it only correlates
	c.remembered(1, "last")
	bytesOf, err := proto.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	records := e.journal.records(wal.KindWrite)
	if r := records[0]; !bytes.Equal(r.Payload, bytesOf) || r.Form != wal.FormRemember || r.Space != "mine" || !r.Session.IsZero() || r.Sequence != 0 || r.Lane != wal.LaneNormal {
		t.Errorf("journaled as %+v", r)
	}
	if r := records[1]; r.Space != "other" || made == "" || string(r.ID) != made {
		t.Errorf("journaled as %+v and answered with %q", r, made)
	}
	if r := records[2]; r.Space != "default" {
		t.Errorf("journaled as %+v", r)
	}
}

func TestFlowRefusesInBand(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.flow()
	short := rememberOf("", "")
	short.GetMemory().Embedding = short.GetMemory().GetEmbedding()[:767]
	for name, row := range map[string]struct {
		request *pb.MemoryFlowRequest
		texts   []string
	}{
		"no request":         {&pb.MemoryFlowRequest{}, []string{"expected one of remember, recall, subscribe, control, got none"}},
		"767 dimensions":     {&pb.MemoryFlowRequest{Request: &pb.MemoryFlowRequest_Remember{Remember: short}}, []string{"expected 768 dimensions, got 767"}},
		"a bad space":        {&pb.MemoryFlowRequest{MemorySpaceId: "No", Request: &pb.MemoryFlowRequest_Remember{Remember: rememberOf("", "")}}, []string{"memory_space_id"}},
		"a recall of none":   {&pb.MemoryFlowRequest{Request: &pb.MemoryFlowRequest_Recall{Recall: &pb.RecallRequest{}}}, []string{"cue: expected one of"}},
		"another's session":  {&pb.MemoryFlowRequest{SessionId: "00000000-0000-4000-8000-000000000000"}, []string{"session_id: expected "}},
		"an unknown action":  {&pb.MemoryFlowRequest{Request: &pb.MemoryFlowRequest_Control{Control: &pb.FlowControl{Action: 77}}}, []string{"control.action", "got action 77"}},
		"a negative buffer":  {&pb.MemoryFlowRequest{Request: &pb.MemoryFlowRequest_Subscribe{Subscribe: &pb.StreamSubscription{BufferSize: -1}}}, []string{"buffer_size", "got -1"}},
		"too much important": {&pb.MemoryFlowRequest{Request: &pb.MemoryFlowRequest_Subscribe{Subscribe: &pb.StreamSubscription{MinImportance: 2}}}, []string{"min_importance: expected 0 to 1, got 2"}},
		"events of dreams": {&pb.MemoryFlowRequest{Request: &pb.MemoryFlowRequest_Subscribe{Subscribe: &pb.StreamSubscription{
			EventTypes: []pb.StreamEventType{pb.StreamEventType_STREAM_EVENT_TYPE_DECAY},
		}}}, []string{"STREAM_EVENT_TYPE_STORAGE", "DECAY"}},
	} {
		if c.id == "" { // the first request opens the session
			c.control(1, &pb.FlowControl{Action: pb.FlowControl_ACTION_RESUME})
			c.status(1, pb.FlowStatus_STATE_ACTIVE)
		}
		t.Run(name, func(t *testing.T) {
			row.request.SequenceNumber = 9
			c.send(row.request)
			if st := c.status(9, pb.FlowStatus_STATE_ERROR, row.texts...); st.GetMetrics()["code"] != "InvalidArgument" {
				t.Errorf("status %v", st)
			}
		})
	}
	c.remember(2, rememberOf("", "fine"))
	c.remembered(2, "fine")
}

func TestFlowThatCannotBegin(t *testing.T) {
	closed := wal.SessionID{9}
	for name, row := range map[string]struct {
		request *pb.MemoryFlowRequest
		code    codes.Code
		text    string
	}{
		"unknown session": {&pb.MemoryFlowRequest{SessionId: "7f9c24e5-2f57-4f9b-8f0a-0d8c3f1a2b3c"}, codes.NotFound, "empty session_id"},
		"closed session":  {&pb.MemoryFlowRequest{SessionId: closed.String()}, codes.FailedPrecondition, "was closed"},
		"bad space":       {&pb.MemoryFlowRequest{MemorySpaceId: "No"}, codes.InvalidArgument, "3 to 64"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, Config{}, session.Snapshot{ID: closed, Space: "default", Lane: uint8(wal.LaneNormal), Closed: true, ClosedAt: time.Now()})
			c := e.flow()
			c.send(row.request)
			c.end(row.code, row.text)
		})
	}
}

func TestFlowPauses(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.flow()
	c.control(1, &pb.FlowControl{Action: pb.FlowControl_ACTION_PAUSE})
	c.status(1, pb.FlowStatus_STATE_PAUSED, "refused until RESUME")
	c.remember(2, rememberOf("", "x"))
	c.status(2, pb.FlowStatus_STATE_PAUSED, "send control RESUME")
	c.recall(3) // a recall is none of that
	if c.recv(3).GetRecallResult() == nil {
		t.Error("no result")
	}
	c.control(4, &pb.FlowControl{Action: pb.FlowControl_ACTION_SLOW_DOWN, PreferredRate: 2})
	c.status(4, pb.FlowStatus_STATE_PAUSED, "at most one event every 500ms")
	c.control(4, &pb.FlowControl{Action: pb.FlowControl_ACTION_SPEED_UP})
	c.status(4, pb.FlowStatus_STATE_PAUSED, "at most one event every 250ms")
	c.control(4, &pb.FlowControl{Action: pb.FlowControl_ACTION_SPEED_UP, PreferredRate: 1e9})
	c.status(4, pb.FlowStatus_STATE_PAUSED, "events as they come")
	c.control(4, &pb.FlowControl{Action: pb.FlowControl_ACTION_BUFFER_STATUS, BufferRemaining: 3})
	c.status(4, pb.FlowStatus_STATE_PAUSED, "at most 3 events are queued")
	c.control(5, &pb.FlowControl{Action: pb.FlowControl_ACTION_RESUME})
	c.status(5, pb.FlowStatus_STATE_ACTIVE)
	c.remember(6, rememberOf("", "x"))
	c.remembered(6, "x")
}

func TestFlowRecallsWhatItRemembered(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.flow()
	c.remember(1, rememberOf("", "thing"))
	c.remembered(1, "thing")
	c.recall(2)
	if m := c.recv(2).GetRecallResult().GetMemories(); len(m) != 1 || m[0].GetId() != "thing" {
		t.Fatalf("recalled %v", m)
	}
	e.store.set(func(store.Query) (store.Answer, error) { return store.Answer{}, store.Unavailable(errDisk) })
	c.recall(3)
	if st := c.status(3, pb.FlowStatus_STATE_RECONNECTING, "engram-partial: store-unavailable"); st.GetMetrics()[partialKey] != partialStore {
		t.Errorf("status %v", st)
	}
	if m := c.recv(3).GetRecallResult().GetMemories(); len(m) != 1 {
		t.Errorf("recalled %v", m)
	}
}

// What names no space of its own means the request's, and where that names none the session's.
func TestFlowWorksInItsSpace(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.flow()
	c.send(&pb.MemoryFlowRequest{MemorySpaceId: "mine", SequenceNumber: 1, Request: &pb.MemoryFlowRequest_Remember{Remember: rememberOf("", "first")}})
	c.remembered(1, "first")
	c.remember(2, rememberOf("", "second"))
	c.remembered(2, "second")
	for _, r := range e.journal.records(wal.KindWrite) {
		if r.Space != "mine" {
			t.Errorf("%s went to %q", r.ID, r.Space)
		}
	}
	recall := func(sequence int64, space string, want int) {
		t.Helper()
		c.send(&pb.MemoryFlowRequest{MemorySpaceId: space, SequenceNumber: sequence, Request: &pb.MemoryFlowRequest_Recall{
			Recall: &pb.RecallRequest{Cue: cueOf(vector(2))},
		}})
		if m := c.recv(sequence).GetRecallResult().GetMemories(); len(m) != want {
			t.Errorf("in %q %d memories are recalled, want %d", space, len(m), want)
		}
	}
	recall(3, "", 2)
	recall(4, "mine", 2)
	recall(5, "default", 0)
}

// A recall that takes its time holds no write back, and a half-close waits for it.
func TestSlowRecallHoldsNothingBack(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.flow()
	asked, answer := make(chan struct{}), make(chan struct{})
	e.store.set(func(store.Query) (store.Answer, error) {
		close(asked)
		<-answer
		return store.Answer{}, nil
	})
	c.recall(1)
	<-asked
	c.remember(2, rememberOf("", "thing"))
	c.remembered(2, "thing")
	if err := c.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	close(answer)
	if c.recv(1).GetRecallResult() == nil {
		t.Error("no result")
	}
	c.end(codes.OK)
}

func TestFlowWithoutRoom(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.flow()
	c.remember(1, rememberOf("", "thing"))
	c.remembered(1, "thing")
	e.ledger.set(func() { e.ledger.load.RetryAfter = 1500 * time.Millisecond })
	e.full(fmt.Errorf("%w: no quota left", wal.ErrFull))
	c.remember(2, rememberOf("", "another"))
	if st := c.status(2, pb.FlowStatus_STATE_ERROR, "no quota left", "retry after 1.5s"); st.GetMetrics()["code"] != "ResourceExhausted" {
		t.Errorf("status %v", st)
	}
	e.full(nil)
	e.journal.hold()
	c.remember(3, rememberOf("", "lost"))
	c.remember(4, rememberOf("", "lost too"))
	e.journal.awaitFilling(2)
	e.journal.set(func() { e.journal.refuse = fmt.Errorf("%w: no space left on device", wal.ErrFull) })
	e.journal.release()
	c.status(3, pb.FlowStatus_STATE_ERROR, "retry after 1.5s")
	c.status(4, pb.FlowStatus_STATE_ERROR, "retry after 1.5s")
	c.remember(5, rememberOf("", "kept"))
	c.remembered(5, "kept")
	if n := len(e.journal.records(wal.KindWrite)); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

func TestFlowEndsWithTheJournalAndTheStop(t *testing.T) {
	e := newEdge(t, Config{})
	c, idle := e.flow(), e.flow()
	for _, f := range []*flowClient{c, idle} {
		f.remember(1, rememberOf("", "thing"))
		f.remembered(1, "thing")
	}
	e.journal.hold()
	c.remember(2, rememberOf("", "lost"))
	e.journal.awaitFilling(1)
	e.journal.set(func() { e.journal.refuse = fmt.Errorf("%w: %w", wal.ErrFailed, errDisk) })
	e.journal.release()
	c.end(codes.Unavailable, "journal failed")
	e.stop()
	idle.end(codes.Unavailable, "the sidecar is stopping")
	<-e.ended
}
