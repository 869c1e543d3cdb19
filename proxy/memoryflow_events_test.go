package proxy

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// stored reports what became of the n-th write.
func (e *edge) stored(n int, fate wal.Fate, reason string) {
	r := e.journal.records(wal.KindWrite)[n]
	e.news.Settled(&r, fate, reason)
}

func (c *flowClient) event(what string, metadata ...string) *pb.StreamResponse {
	c.t.Helper()
	ev := c.recv(0).GetEvent()
	if ev.GetMetadata()["event"] != what || ev.GetDescription() == "" || !ev.GetTimestamp().IsValid() {
		c.t.Fatalf("want the event %s, got %v", what, ev)
	}
	for i := 0; i < len(metadata); i += 2 {
		if got := ev.GetMetadata()[metadata[i]]; got != metadata[i+1] {
			c.t.Errorf("event %v: %s is %q, want %q", ev, metadata[i], got, metadata[i+1])
		}
	}
	return ev
}

func TestFlowSubscriberHearsWhatBecomesOfMemories(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.flow()
	c.subscribe(1, &pb.StreamSubscription{EventTypes: []pb.StreamEventType{pb.StreamEventType_STREAM_EVENT_TYPE_STORAGE}, EnableBackpressure: true})
	c.status(1, pb.FlowStatus_STATE_ACTIVE, "subscribed", "space default")
	c.remember(2, rememberOf("", "thing"))
	c.remember(3, rememberOf("elsewhere", "other"))
	c.remembered(2, "thing")
	c.remembered(3, "other")
	o := e.begin("", &pb.StreamInit{})
	o.observe(1)
	o.acks(1)
	await(t, "the subscription", func() bool { return e.news.listening.Load() == 1 })
	e.stored(1, wal.Delivered, "") // in another space
	e.stored(0, wal.Delivered, "")
	if ev := c.event("stored", "memory_id", "thing", "memory_space_id", "default", "session_id", ""); ev.GetEventType() != pb.StreamEventType_STREAM_EVENT_TYPE_STORAGE {
		t.Errorf("event %v", ev)
	}
	e.stored(2, wal.Dead, "not this \xff")
	c.event("dead-lettered", "memory_id", o.id+"-1", "session_id", o.id, "sequence_number", "1", "reason", "not this \uFFFD")
	e.pressure(0.9)
	if ev := c.event("pressure", "pressure", "0.90"); ev.GetImportance() != 0.9 {
		t.Errorf("event %v", ev)
	}
	e.pressure(0.2)
	c.event("pressure", "pressure", "0.20")
	c.subscribe(4, &pb.StreamSubscription{EventTypes: []pb.StreamEventType{pb.StreamEventType_STREAM_EVENT_TYPE_UNSPECIFIED}})
	c.status(4, pb.FlowStatus_STATE_ACTIVE, "the subscription is over")
	await(t, "the end of the subscription", func() bool { return e.news.listening.Load() == 0 })
}

func TestFlowSubscriberHearsOnlyWhatIsImportantToIt(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.flow()
	c.subscribe(1, &pb.StreamSubscription{MinImportance: 0.5})
	c.status(1, pb.FlowStatus_STATE_ACTIVE)
	await(t, "the subscription", func() bool { return e.news.listening.Load() == 1 })
	o := e.begin("", &pb.StreamInit{})
	for seq, importance := range []float32{0.4, 0.5} {
		ep := episode("")
		ep.Importance = importance
		o.send(observationOf(uint64(seq)+1, ep))
	}
	o.acks(1, 2)
	e.stored(0, wal.Delivered, "")
	e.stored(1, wal.Delivered, "")
	if ev := c.event("stored", "sequence_number", "2"); ev.GetImportance() != 0.5 {
		t.Errorf("event %v", ev)
	}
}

// The forwarder's reports return at once, however little a subscriber reads; its writes and recalls go on.
func TestSlowSubscriberIsDropped(t *testing.T) {
	e := newEdge(t, Config{})
	c, other := e.flow(), e.flow()
	c.remember(1, rememberOf("", "thing"))
	c.remembered(1, "thing")
	c.control(2, &pb.FlowControl{Action: pb.FlowControl_ACTION_SLOW_DOWN, PreferredRate: 0.001}) // as slow as can be
	c.status(2, pb.FlowStatus_STATE_ACTIVE)
	c.subscribe(3, &pb.StreamSubscription{BufferSize: 10})
	c.status(3, pb.FlowStatus_STATE_ACTIVE, "more than 10 events")
	other.subscribe(1, &pb.StreamSubscription{BufferSize: 100})
	other.status(1, pb.FlowStatus_STATE_ACTIVE)
	await(t, "the subscriptions", func() bool { return e.news.listening.Load() == 2 })
	for range 12 {
		e.stored(0, wal.Delivered, "")
	}
	for heard := 0; ; heard++ {
		res, err := c.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if st := res.GetStatus(); st != nil {
			if st.GetState() != pb.FlowStatus_STATE_ERROR || res.GetSequenceNumber() != 3 || !strings.Contains(st.GetMessage(), "more than 10 events waited") || heard > 1 {
				t.Fatalf("after %d events: %v", heard, res)
			}
			break
		}
	}
	for range 12 {
		other.event("stored")
	}
	c.remember(4, rememberOf("", "thing"))
	c.remembered(4, "thing")
	if n := e.news.listening.Load(); n != 1 {
		t.Errorf("%d are subscribed, want one", n)
	}
}

func TestFlowClientThatDoesNotReadIsDroppedToo(t *testing.T) {
	e := newEdge(t, Config{AnswerBytes: 8 << 10})
	c := e.flow()
	c.subscribe(1, &pb.StreamSubscription{})
	await(t, "the subscription", func() bool { return e.news.listening.Load() == 1 })
	o := e.begin("", &pb.StreamInit{})
	o.observe(1)
	o.acks(1)
	r := e.journal.records(wal.KindWrite)[0]
	await(t, "the subscription to be dropped", func() bool {
		e.news.Settled(&r, wal.Delivered, "")
		return e.news.listening.Load() == 0
	})
	c.status(1, pb.FlowStatus_STATE_ACTIVE)
	for {
		res, err := c.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if st := res.GetStatus(); st != nil {
			if st.GetState() != pb.FlowStatus_STATE_ERROR {
				t.Errorf("status %v", st)
			}
			break
		}
	}
}

// A flow is opened with any right in its space, and each request needs its own.
func TestRightsOnAFlow(t *testing.T) {
	e, change := guarded(t)
	open := func(token, space string) *flowClient {
		stream, err := e.MemoryFlow(with(e.ctx, token))
		if err != nil {
			t.Fatal(err)
		}
		c := &flowClient{t: t, stream: stream}
		c.send(&pb.MemoryFlowRequest{MemorySpaceId: space, SequenceNumber: 1, Request: &pb.MemoryFlowRequest_Subscribe{Subscribe: &pb.StreamSubscription{}}})
		return c
	}
	open(notesToken, "logs").end(codes.PermissionDenied, "no right")
	open(opsToken, "notes").end(codes.PermissionDenied, "no right")
	reader, writer := open(readerToken, "notes"), open(notesToken, "notes")
	for _, c := range []*flowClient{reader, writer} {
		c.status(1, pb.FlowStatus_STATE_ACTIVE, "subscribed")
	}
	await(t, "the subscriptions", func() bool { return e.news.listening.Load() == 2 })
	reader.remember(2, rememberOf("", "thing"))
	if st := reader.status(2, pb.FlowStatus_STATE_ERROR, "no right w"); st.GetMetrics()["code"] != "PermissionDenied" {
		t.Errorf("status %v", st)
	}
	writer.remember(2, rememberOf("", "thing"))
	writer.remembered(2, "thing")
	e.stored(0, wal.Delivered, "")
	reader.event("stored", "memory_id", "thing")
	writer.event("stored", "memory_id", "thing")
	for name, r := range map[string]*pb.MemoryFlowRequest{
		"remember":  {Request: &pb.MemoryFlowRequest_Remember{Remember: rememberOf("logs", "thing")}},
		"recall":    {Request: &pb.MemoryFlowRequest_Recall{Recall: &pb.RecallRequest{MemorySpaceId: "logs", Cue: cueOf(vector(1))}}},
		"subscribe": {MemorySpaceId: "logs", Request: &pb.MemoryFlowRequest_Subscribe{Subscribe: &pb.StreamSubscription{}}},
	} {
		r.SequenceNumber = 3
		writer.send(r)
		if st := writer.status(3, pb.FlowStatus_STATE_ERROR, "no right"); st.GetMetrics()["code"] != "PermissionDenied" {
			t.Errorf("%s: %v", name, st)
		}
	}
	change("all " + allToken + " *:rw\n") // both tokens are taken away
	e.stored(0, wal.Delivered, "")
	reader.end(codes.Unauthenticated, "valid no more")
}
