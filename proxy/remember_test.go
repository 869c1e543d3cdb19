package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func rememberOf(space, id string) *pb.RememberRequest {
	return &pb.RememberRequest{MemorySpaceId: space, AutoLink: true, MemoryType: &pb.RememberRequest_Memory{
		Memory: &pb.Memory{Id: id, Content: "a thing to remember", Embedding: vector(2)},
	}}
}

func TestRememberIsDurableBeforeItIsAnswered(t *testing.T) {
	e := newEdge(t, Config{})
	e.journal.hold()
	var res *pb.RememberResponse
	var err error
	answered := make(chan struct{})
	request := rememberOf("mine", "thing-1")
	go func() {
		defer close(answered)
		res, err = e.Remember(e.ctx, request)
	}()
	e.journal.awaitFilling(1)
	select {
	case <-answered:
		t.Fatal("answered before the fsync")
	default:
	}
	e.journal.release()
	<-answered
	if err != nil || res.GetMemoryId() != "thing-1" || res.GetInitialState() != pb.ConsolidationState_CONSOLIDATION_STATE_RECENT {
		t.Fatalf("%v, %v", res, err)
	}
	bytesOf, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	r := e.journal.records(wal.KindWrite)[0]
	if !bytes.Equal(r.Payload, bytesOf) || r.Form != wal.FormRemember || r.Space != "mine" || string(r.ID) != "thing-1" || !r.Session.IsZero() {
		t.Errorf("journaled as %+v", r)
	}
}

func TestMadeIDsAreUUIDs(t *testing.T) {
	e := newEdge(t, Config{})
	res, err := e.Remember(e.ctx, rememberOf("", ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := uuid.Parse(res.GetMemoryId()); err != nil {
		t.Error(err)
	}
	lived, err := e.Experience(e.ctx, &pb.ExperienceRequest{Episode: episode(""), ImmediateConsolidation: true, ContextLinks: []string{"a"}})
	if err != nil || lived.GetState() != pb.ConsolidationState_CONSOLIDATION_STATE_RECENT {
		t.Fatalf("%v, %v", lived, err)
	}
	records := e.journal.records(wal.KindWrite)
	var m pb.RememberRequest
	var x pb.ExperienceRequest
	if err := errors.Join(proto.Unmarshal(records[0].Payload, &m), proto.Unmarshal(records[1].Payload, &x)); err != nil {
		t.Fatal(err)
	}
	if m.GetMemory().GetId() != res.GetMemoryId() || !m.GetAutoLink() {
		t.Errorf("stored as %q", m.GetMemory().GetId())
	}
	if x.GetEpisode().GetId() != lived.GetEpisodeId() || !x.GetImmediateConsolidation() || len(x.GetContextLinks()) != 1 || records[1].Form != wal.FormExperience {
		t.Errorf("stored as %v %q", records[1].Form, x.GetEpisode().GetId())
	}
	named, err := e.Experience(e.ctx, &pb.ExperienceRequest{Episode: episode("mine")})
	if err != nil || named.GetEpisodeId() != "mine" {
		t.Errorf("%v, %v", named, err)
	}
}

func TestBadWritesAreInvalid(t *testing.T) {
	e := newEdge(t, Config{MaxEpisodeBytes: 4 << 10})
	large := rememberOf("", "")
	large.GetMemory().Content = strings.Repeat("x", 4<<10)
	short := rememberOf("", "")
	short.GetMemory().Embedding = vector(0)[:3]
	for _, row := range []struct {
		name  string
		send  *pb.RememberRequest
		texts []string
	}{
		{"too large", large, []string{"RememberRequest: expected at most 4096 bytes"}},
		{"3 dimensions", short, []string{"embedding: expected 768 dimensions, got 3"}},
		{"bad space", rememberOf("X", ""), []string{"memory_space_id"}},
		{"nothing", &pb.RememberRequest{}, []string{"memory_type: expected a memory or an episode, got neither"}},
	} {
		_, err := e.Remember(e.ctx, row.send)
		wantStatus(t, err, codes.InvalidArgument, row.texts...)
	}
	_, err := e.Experience(e.ctx, &pb.ExperienceRequest{})
	wantStatus(t, err, codes.InvalidArgument, "episode: expected an episode, got none")
	_, err = e.Experience(e.ctx, &pb.ExperienceRequest{MemorySpaceId: "?", Episode: episode("")})
	wantStatus(t, err, codes.InvalidArgument, "memory_space_id")
	if n := len(e.journal.records(wal.KindWrite)); n != 0 {
		t.Errorf("%d were journaled", n)
	}
}

func TestFullJournalTellsWritersWhenToRetry(t *testing.T) {
	e := newEdge(t, Config{})
	e.ledger.set(func() { e.ledger.load.RetryAfter = 2300 * time.Millisecond })
	e.full(fmt.Errorf("%w: no quota left", wal.ErrFull))
	_, remember := e.Remember(e.ctx, rememberOf("", ""))
	_, experience := e.Experience(e.ctx, &pb.ExperienceRequest{Episode: episode("")})
	for _, err := range []error{remember, experience} {
		wantStatus(t, err, codes.ResourceExhausted, "no quota left; retry after 2.3s")
		wantRetry(t, err, 2300*time.Millisecond)
	}
	c := e.connect()
	c.send(initOf(""))
	_, err := c.stream.Recv()
	wantStatus(t, err, codes.ResourceExhausted, "retry after 2.3s")
	wantRetry(t, err, 2300*time.Millisecond)
}

// wantRetry wants the error to tell, as google.rpc.RetryInfo, when to come back.
func wantRetry(t *testing.T, err error, want time.Duration) {
	t.Helper()
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			if after := info.GetRetryDelay().AsDuration(); after != want {
				t.Errorf("a client is to retry after %v, want %v", after, want)
			}
			return
		}
	}
	t.Errorf("%v has no RetryInfo", err)
}

// TestLargestWrite: what is as large as an episode may be is taken, and one byte more is not.
func TestLargestWrite(t *testing.T) {
	const limit = 4 << 10
	e := newEdge(t, Config{MaxEpisodeBytes: limit})
	c := e.begin("", &pb.StreamInit{})
	for size, code := range map[int]codes.Code{limit: codes.OK, limit + 1: codes.InvalidArgument} {
		ep := episode("large")
		ep.What = ""
		ep.What = strings.Repeat("x", size-proto.Size(ep)-3) // its tag is one byte, its length two
		if n := proto.Size(ep); n != size {
			t.Fatalf("made %d bytes, wanted %d", n, size)
		}
		for name, call := range map[string]func() error{
			"Remember": func() error {
				_, err := e.Remember(e.ctx, &pb.RememberRequest{MemoryType: &pb.RememberRequest_Episode{Episode: ep}})
				return err
			},
			"Experience": func() error {
				_, err := e.Experience(e.ctx, &pb.ExperienceRequest{Episode: ep})
				return err
			},
			"ObserveStream": func() error { // in-band
				c.send(observationOf(c.first+1, ep))
				res := c.recv()
				if res.GetAck() != nil {
					c.first++
					return nil
				}
				return status.Error(codes.InvalidArgument, res.GetStatus().GetMessage())
			},
		} {
			err := call()
			if status.Code(err) != code {
				t.Errorf("%s of %d bytes: %v, want %v", name, size, err, code)
			}
			if says := "expected at most 4096 bytes, got 4097"; err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v does not say %q", name, err, says)
			}
		}
	}
}

func TestStreamingRememberAnswersInOrder(t *testing.T) {
	e := newEdge(t, Config{})
	stream, err := e.StreamingRemember(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	const all = 500
	for i := range all {
		if err := stream.Send(rememberOf("", fmt.Sprintf("thing-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		res, err := stream.Recv()
		if err != nil || res.GetMemoryId() != fmt.Sprintf("thing-%d", i) || res.GetInitialState() != pb.ConsolidationState_CONSOLIDATION_STATE_RECENT {
			t.Fatalf("answer %d is %v, %v", i, res, err)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if n := len(e.journal.records(wal.KindWrite)); n != all || e.counts.acked != all {
		t.Errorf("%d records, %d acks", n, e.counts.acked)
	}
}

func TestStreamingRememberEndsAtTheFirstRefusal(t *testing.T) {
	invalid := rememberOf("", "")
	invalid.GetMemory().Embedding = nil
	for _, row := range []struct {
		name   string
		state  error // of the journal, for what comes after the first
		refuse error // the batch of the second comes to this
		second *pb.RememberRequest
		code   codes.Code
		texts  []string
	}{
		{"invalid", nil, nil, invalid, codes.InvalidArgument, []string{"768 dimensions, got 0"}},
		{"full", wal.ErrFull, nil, rememberOf("", ""), codes.ResourceExhausted, []string{"retry after 1s"}},
		{"refused after all", nil, wal.ErrFull, rememberOf("", ""), codes.ResourceExhausted, []string{"retry after 1s"}},
		{"failed", nil, wal.ErrFailed, rememberOf("", ""), codes.Unavailable, []string{"journal failed", "call again"}},
		{"fails under way", nil, wal.ErrFailed, rememberOf("", ""), codes.Unavailable, []string{"journal failed", "call again"}},
		{"closed", wal.ErrClosed, nil, rememberOf("", ""), codes.Unavailable, []string{"the sidecar is stopping: call again"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newEdge(t, Config{})
			stream, err := e.StreamingRemember(e.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(rememberOf("", "first")); err != nil {
				t.Fatal(err)
			}
			e.journal.await(func() bool { return len(e.journal.durable) == 1 })
			e.journal.set(func() { e.journal.state, e.journal.refuse = row.state, row.refuse })
			if err := stream.Send(row.second); err != nil {
				t.Fatal(err)
			}
			if res, err := stream.Recv(); err != nil || res.GetMemoryId() != "first" {
				t.Fatalf("the one before the refusal was answered with %v, %v", res, err)
			}
			_, err = stream.Recv()
			wantStatus(t, err, row.code, row.texts...)
			if row.code == codes.ResourceExhausted {
				wantRetry(t, err, time.Second)
			}
		})
	}
}

func TestLaneWithoutALimitIsAskedOnce(t *testing.T) {
	e := newEdge(t, Config{})
	var asked atomic.Int32
	e.ledger.set(func() { e.ledger.failing = func() { asked.Add(1) } })
	stream, err := e.StreamingRemember(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := e.Remember(e.ctx, rememberOf("", "")); err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(rememberOf("", "")); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("40 writes asked for the load %d times, want once", n)
	}
}

func TestFullLaneRefusesWriters(t *testing.T) {
	e := newEdge(t, Config{})
	e.ledger.set(func() { e.ledger.load = Load{Depth: 3, Limit: 4, Capacity: 4} })
	if _, err := e.Remember(e.ctx, rememberOf("", "")); err != nil {
		t.Fatal(err)
	}
	e.ledger.set(func() { e.ledger.load.Depth = 4 })
	stream, err := e.StreamingRemember(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(rememberOf("", "")); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantStatus(t, err, codes.ResourceExhausted, "lane full: 4 of 4")
	_, err = e.Remember(e.ctx, rememberOf("", ""))
	wantStatus(t, err, codes.ResourceExhausted, "lane full: 4 of 4")
}
