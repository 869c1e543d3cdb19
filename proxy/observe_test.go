package proxy

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestThousandObservationsThousandAcks(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	if c.first != 0 {
		t.Fatalf("a new session begins after %d", c.first)
	}
	go func() {
		for _, seq := range upTo(1000) {
			if c.stream.Send(observationOf(seq, episode(""))) != nil {
				return
			}
		}
	}()
	c.acks(upTo(1000)...)
	if err := c.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	c.end(codes.OK)
	for i, r := range e.journal.records(wal.KindWrite) {
		if r.Sequence != uint64(i)+1 || r.Session.String() != c.id || r.Space != "default" || r.Lane != wal.LaneNormal || r.Form != wal.FormEpisode {
			t.Fatalf("record %d is %+v", i, r)
		}
	}
	if n := len(e.journal.records(wal.KindWrite)); n != 1000 || e.counts.acked != 1000 {
		t.Errorf("%d records, %d acks counted", n, e.counts.acked)
	}
}

func TestEpisodeBytesTravelVerbatim(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	unknown := []byte{0xfa, 0x3e, 3, 'n', 'e', 'w'} // field 1007, which no definition of ours has
	own, made := episode("mine"), episode("")
	own.ProtoReflect().SetUnknown(unknown)
	made.ProtoReflect().SetUnknown(unknown)
	c.send(observationOf(1, own))
	r := observationOf(2, made)
	r.SessionId, r.MemorySpaceId = c.id, "elsewhere" // both lie around the episode in the message
	c.send(r)
	if got := c.recv().GetAck().GetMemoryId(); got != "mine" {
		t.Errorf("the episode's own id was acked as %q", got)
	}
	c.acks(2)
	records := e.journal.records(wal.KindWrite)
	first, err := proto.Marshal(own)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(records[0].Payload, first) || string(records[0].ID) != "mine" {
		t.Error("the bytes of an episode with an id changed on the way")
	}
	var stored pb.Episode
	if err := proto.Unmarshal(records[1].Payload, &stored); err != nil {
		t.Fatal(err)
	}
	made.Id = c.id + "-2"
	if !proto.Equal(&stored, made) || string(records[1].ID) != made.Id || records[1].Space != "elsewhere" {
		t.Errorf("stored as %v in %q", &stored, records[1].Space)
	}
	second, err := proto.Marshal(&pb.Episode{What: made.What, Embedding: made.Embedding})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(records[1].Payload, second) {
		t.Error("a made id was not appended behind the client's bytes")
	}
}

func TestRefusalsUseNothingUp(t *testing.T) {
	nan, short := episode(""), episode("")
	nan.Embedding[17] = float32(math.NaN())
	short.Embedding = short.Embedding[:767]
	huge := episode("")
	huge.What = strings.Repeat("x", 256<<10)
	elsewhere := observationOf(3, episode(""))
	elsewhere.MemorySpaceId = "Bad Space"
	foreign := observationOf(3, episode(""))
	foreign.SessionId = "00000000-0000-4000-8000-000000000000"
	for _, row := range []struct {
		name   string
		send   *pb.ObservationRequest
		reason string
		texts  []string
	}{
		{"gap", observationOf(10, episode("")), ReasonSequence, []string{"sequence mismatch: expected 3, got 10; resend from 3"}},
		{"duplicate", observationOf(2, episode("")), ReasonSequence, []string{"sequence mismatch: expected 3, got 2; resend from 3"}},
		{"no sequence", observationOf(0, episode("")), ReasonSequence, []string{"expected 3, got 0"}},
		{"767 dimensions", observationOf(3, short), ReasonInvalid, []string{"embedding: expected 768 dimensions, got 767"}},
		{"not a number", observationOf(3, nan), ReasonInvalid, []string{"embedding[17]: expected a finite number, got NaN"}},
		{"id too long", observationOf(3, episode(strings.Repeat("i", 257))), ReasonInvalid, []string{"id: expected at most 256 bytes, got 257"}},
		{"episode too large", observationOf(3, huge), ReasonTooLarge, []string{"observation: expected at most 262144 bytes, got "}},
		{"bad space", elsewhere, ReasonInvalid, []string{"memory_space_id: expected 3 to 64 characters", `"Bad Space"`}},
		{"another session's id", foreign, ReasonSession, []string{"session_id: expected "}},
		{"no operation", &pb.ObservationRequest{SequenceNumber: 3}, ReasonInvalid, []string{"expected one of init, observation, flow, close, got none"}},
		{"second init", &pb.ObservationRequest{SequenceNumber: 3, Operation: &pb.ObservationRequest_Init{Init: &pb.StreamInit{}}}, ReasonInvalid, []string{"expected it once"}},
		{"unknown action", &pb.ObservationRequest{SequenceNumber: 3, Operation: &pb.ObservationRequest_Flow{Flow: &pb.FlowControl{Action: 77}}}, ReasonInvalid, []string{"flow.action", "got action 77"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newEdge(t, Config{})
			c := e.begin("", &pb.StreamInit{})
			c.observe(1, 2)
			c.send(row.send)
			c.observe(3)
			c.acks(1, 2)
			c.status(row.send.GetSequenceNumber(), pb.StreamStatus_STATE_ERROR, row.texts...)
			c.acks(3)
			if e.counts.of(row.reason) != 1 {
				t.Errorf("counted as %v, want one %q", e.counts.refused, row.reason)
			}
		})
	}
}

func TestMalformedMessageIsRefusedInBand(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	broken := &pb.ObservationRequest{SequenceNumber: 1}
	broken.ProtoReflect().SetUnknown([]byte{0x1a, 0x7f, 1}) // an observation of 127 bytes, of which one came
	c.send(broken)
	c.observe(1)
	c.status(1, pb.StreamStatus_STATE_ERROR, "malformed")
	c.acks(1)
}

func TestFatalFirstMessages(t *testing.T) {
	init := func(space, id string) *pb.ObservationRequest {
		return &pb.ObservationRequest{MemorySpaceId: space, SessionId: id, Operation: &pb.ObservationRequest_Init{Init: &pb.StreamInit{}}}
	}
	unknown := "7f9c24e5-2f57-4f9b-8f0a-0d8c3f1a2b3c"
	broken := &pb.ObservationRequest{}
	broken.ProtoReflect().SetUnknown([]byte{0x12, 0x7f, 1}) // an init of 127 bytes, of which one came
	for _, row := range []struct {
		name  string
		send  *pb.ObservationRequest
		md    []string
		code  codes.Code
		texts []string
	}{
		{"observation before init", observationOf(1, episode("")), nil, codes.FailedPrecondition, []string{"expected init", "got observation"}},
		{"nothing before init", &pb.ObservationRequest{}, nil, codes.FailedPrecondition, []string{"expected init", "got no operation"}},
		{"no message", broken, nil, codes.InvalidArgument, []string{"malformed bytes"}},
		{"unknown session", init("", unknown), nil, codes.NotFound, []string{unknown, "start a new one with an empty session_id"}},
		{"no UUID", init("", "my session"), nil, codes.NotFound, []string{`"my session"`, "empty session_id"}},
		{"bad space", init("No", ""), nil, codes.InvalidArgument, []string{"memory_space_id: expected 3 to 64 characters of a-z, 0-9"}},
		{"bad priority", init("", ""), []string{"engram-priority", "urgent"}, codes.InvalidArgument, []string{"engram-priority", `"urgent"`, "high, normal or low"}},
		{"two priorities", init("", ""), []string{"engram-priority", "low", "engram-priority", "high"}, codes.InvalidArgument, []string{"got it 2 times"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newEdge(t, Config{})
			c := e.connect(row.md...)
			c.send(row.send)
			c.end(row.code, row.texts...)
			if n := len(e.journal.records(wal.KindSessionOpened)); n != 0 {
				t.Errorf("%d sessions were journaled", n)
			}
		})
	}
}

func TestNewSessionIsDurableBeforeItsAck(t *testing.T) {
	e := newEdge(t, Config{})
	e.ledger.set(func() { e.ledger.load = Load{Capacity: 5000} })
	c := e.connect("engram-priority", "high")
	e.journal.hold()
	c.send(&pb.ObservationRequest{MemorySpaceId: "mine", Operation: &pb.ObservationRequest_Init{Init: &pb.StreamInit{}}})
	e.journal.awaitFilling(1)
	released := time.Now()
	e.journal.release()
	res := c.recv()
	if at := res.GetServerTimestamp().AsTime(); at.Before(released) {
		t.Errorf("acked at %v, before the fsync at %v", at, released)
	}
	caps := res.GetInitAck().GetCapabilities()
	if caps.GetQueueCapacity() != 5000 || !caps.GetSupportsBackpressure() || !caps.GetSupportsSnapshotIsolation() || caps.GetMaxObservationsPerSecond() != 0 {
		t.Errorf("capabilities %v", caps)
	}
	if id, err := uuid.Parse(res.GetSessionId()); err != nil || id.Version() != 4 || id.Variant() != uuid.RFC4122 {
		t.Errorf("the session's id is %q, want a UUID v4: %v", res.GetSessionId(), err)
	}
	opened := e.journal.records(wal.KindSessionOpened)
	if len(opened) != 1 || opened[0].Session.String() != res.GetInitAck().GetSessionId() || opened[0].Space != "mine" || opened[0].Lane != wal.LaneHigh {
		t.Errorf("journaled as %+v", opened)
	}
}

// A capacity is never 0, which would say that nothing can wait, and a rate is 0 only where there is no limit.
func TestCapabilities(t *testing.T) {
	for _, row := range []struct {
		capacity    uint64
		quota       Quota
		queue, rate uint32
	}{
		{20, Quota{}, 20, 0},
		{0, Quota{}, 1, 0},
		{1 << 40, Quota{}, math.MaxUint32, 0},
		{20, Quota{Messages: 250}, 20, 250},
		{20, Quota{Bytes: 1 << 20}, 20, 0},
	} {
		e := newEdge(t, Config{Quota: row.quota})
		e.ledger.set(func() { e.ledger.load = Load{Capacity: row.capacity} })
		caps := e.connect().init("", &pb.StreamInit{}).GetCapabilities()
		if caps.GetQueueCapacity() != row.queue || caps.GetMaxObservationsPerSecond() != row.rate {
			t.Errorf("a capacity of %d and %+v are told as %v", row.capacity, row.quota, caps)
		}
	}
}

func TestAnswersWaitForTheFsyncAndTheirTurn(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	e.journal.hold()
	c.observe(1, 2)
	c.observe(9) // a gap, known at once
	c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_PAUSE})
	c.observe(3)
	e.journal.awaitFilling(2)
	released := time.Now()
	e.journal.release()
	for seq := uint64(1); seq <= 2; seq++ {
		res := c.recv()
		if at := res.GetAck().GetCommittedAt().AsTime(); res.GetSequenceNumber() != seq || at.Before(released) {
			t.Errorf("got %v, and the fsync was at %v", res, released)
		}
	}
	c.status(9, pb.StreamStatus_STATE_ERROR, "expected 3, got 9")
	c.status(0, pb.StreamStatus_STATE_PAUSED)
	c.status(3, pb.StreamStatus_STATE_PAUSED, "RESUME", "resend from 3")
}

func TestObservationsGoWhereTheySay(t *testing.T) {
	e := newEdge(t, Config{DefaultSpace: "home"})
	c := e.begin("", &pb.StreamInit{})
	for i, space := range []string{"", "away", "away", "", "other", "home"} {
		r := observationOf(uint64(i)+1, episode(""))
		r.MemorySpaceId = space
		c.send(r)
	}
	c.acks(upTo(6)...)
	var spaces []string
	for _, r := range e.journal.records(wal.KindWrite) {
		spaces = append(spaces, r.Space)
	}
	if got := fmt.Sprint(spaces); got != "[home away away home other home]" {
		t.Errorf("stored in %v", got)
	}
}
