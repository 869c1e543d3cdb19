package integration

import (
	"math"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// serving starts a sidecar with its own embedded store.
func serving(t testing.TB, flags ...string) *harness.Sidecar {
	t.Helper()
	s := harness.NewSidecar(t, harness.Binary(t), flags...)
	s.Start()
	return s
}

func TestThousandObservations(t *testing.T) {
	const count = 1000
	s := serving(t)
	k := newTalk(t, s.Connect())
	if ack := k.init(""); ack.GetInitialSequence() != 0 || ack.GetCapabilities().GetQueueCapacity() == 0 {
		t.Errorf("init_ack %v, expected sequence 0 and a queue capacity", ack)
	}
	sending := make(chan error, 1)
	go func() { // ends with the last one, or with the stream
		for n := uint64(1); n <= count; n++ {
			if err := k.stream.Send(nth(n)); err != nil {
				sending <- err
				return
			}
		}
		sending <- nil
	}()
	ids := make(map[string]bool)
	for n := uint64(1); n <= count; n++ {
		ack := k.acked(n)
		if own := nth(n).GetObservation().GetId(); own != "" && ack.GetMemoryId() != own || ids[ack.GetMemoryId()] {
			t.Errorf("ack of %d with memory id %q, expected the episode's own %q or a new one", n, ack.GetMemoryId(), own)
		}
		if !ack.GetCommittedAt().IsValid() || ack.GetCommittedAt().GetSeconds() == 0 {
			t.Errorf("ack of %d: committed_at %v, expected the time", n, ack.GetCommittedAt())
		}
		ids[ack.GetMemoryId()] = true
	}
	if err := <-sending; err != nil {
		t.Fatal(err)
	}
	if b := s.Drained(); b.Accepted != count || b.Delivered != count {
		t.Errorf("balance %+v, expected %d accepted and delivered", b, count)
	}
}

// TestRefusedInBand: the stream goes on after each of these, and no sequence is used up.
func TestRefusedInBand(t *testing.T) {
	spoil := func(change func(*engramv1.ObservationRequest, *engramv1.Episode)) *engramv1.ObservationRequest {
		request := nth(2)
		change(request, request.GetObservation())
		return request
	}
	k := newTalk(t, serving(t).Connect())
	k.init("")
	k.send(nth(1))
	k.acked(1)
	for _, row := range []struct {
		name    string
		request *engramv1.ObservationRequest
		says    []string
	}{
		{"a gap", nth(5), []string{"expected 2, got 5", "resend from 2"}},
		{"a duplicate", nth(1), []string{"expected 2, got 1", "resend from 2"}},
		{"no sequence at all", nth(0), []string{"expected 2, got 0"}},
		{"767 dimensions", spoil(func(_ *engramv1.ObservationRequest, e *engramv1.Episode) {
			e.Embedding = e.Embedding[:767]
		}), []string{"embedding: expected 768 dimensions, got 767"}},
		{"no embedding", spoil(func(_ *engramv1.ObservationRequest, e *engramv1.Episode) {
			e.Embedding = nil
		}), []string{"embedding: expected 768 dimensions, got 0"}},
		{"NaN in the embedding", spoil(func(_ *engramv1.ObservationRequest, e *engramv1.Episode) {
			e.Embedding[17] = float32(math.NaN())
		}), []string{"embedding[17]", "NaN"}},
		{"infinity in the embedding", spoil(func(_ *engramv1.ObservationRequest, e *engramv1.Episode) {
			e.Embedding[767] = float32(math.Inf(-1))
		}), []string{"embedding[767]", "Inf"}},
		{"confidence above 1", spoil(func(_ *engramv1.ObservationRequest, e *engramv1.Episode) {
			e.EncodingConfidence = &engramv1.Confidence{Value: 1.5}
		}), []string{"confidence", "1.5"}},
		{"a bad memory space", spoil(func(r *engramv1.ObservationRequest, _ *engramv1.Episode) {
			r.MemorySpaceId = "No Such Space!"
		}), []string{"memory_space_id", "3 to 64"}},
		{"no operation", &engramv1.ObservationRequest{}, []string{"operation"}},
		{"a second init", initOf(""), []string{"init"}},
		{"a close above the last accepted", closeOf(9, false), []string{"2", "9"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := &talk{t, k.stream}
			k.send(row.request)
			k.refused(row.request.GetSequenceNumber(), row.says...)
		})
	}
	k.send(nth(2))
	k.acked(2)
}

// TestEndsWithStatus: these streams cannot go on.
func TestEndsWithStatus(t *testing.T) {
	conn := serving(t).Connect()
	badSpace := initOf("")
	badSpace.MemorySpaceId = "ab"
	for _, row := range []struct {
		name  string
		first *engramv1.ObservationRequest
		code  codes.Code
		says  string
	}{
		{"an observation before init", nth(1), codes.FailedPrecondition, "init"},
		{"an unknown session", initOf("3b241101-e2bb-4255-8caf-4136c566a962"), codes.NotFound, "empty"},
		{"a bad memory space", badSpace, codes.InvalidArgument, "3 to 64"},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := newTalk(t, conn)
			k.send(row.first)
			k.ends(row.code, row.says)
		})
	}
}

func TestClosedSession(t *testing.T) {
	for name, drain := range map[string]bool{"drained": true, "at once": false} {
		t.Run(name, func(t *testing.T) {
			s := serving(t)
			conn := s.Connect()
			k := newTalk(t, conn)
			session := k.init("").GetSessionId()
			for n := uint64(1); n <= 20; n++ {
				k.send(nth(n))
			}
			k.send(closeOf(20, drain))
			for n := uint64(1); n <= 20; n++ {
				k.acked(n)
			}
			st := k.answer().GetStatus()
			for drain && st.GetState() != engramv1.StreamStatus_STATE_CLOSED && st != nil {
				st = k.answer().GetStatus() // what is left, each second
			}
			if st.GetState() != engramv1.StreamStatus_STATE_CLOSED {
				t.Errorf("status %v, expected CLOSED", st)
			}
			k.ends(codes.OK)

			again := newTalk(t, conn)
			again.send(initOf(session))
			again.ends(codes.FailedPrecondition)
			if b := s.Drained(); b.Delivered != 20 {
				t.Errorf("balance %+v, expected 20 delivered", b)
			}
		})
	}
}

func TestHalfCloseLeavesTheSessionResumable(t *testing.T) {
	conn := serving(t).Connect()
	k := newTalk(t, conn)
	session := k.init("").GetSessionId()
	for n := uint64(1); n <= 50; n++ {
		k.send(nth(n))
	}
	if err := k.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= 50; n++ {
		k.acked(n)
	}
	k.ends(codes.OK)
	if at := newTalk(t, conn).init(session).GetInitialSequence(); at != 50 {
		t.Errorf("resumed at %d, expected 50", at)
	}
}

func TestNewStreamTakesOver(t *testing.T) {
	conn := serving(t).Connect()
	old := newTalk(t, conn)
	session := old.init("").GetSessionId()
	old.send(nth(1))
	old.acked(1)
	now := newTalk(t, conn)
	if at := now.init(session).GetInitialSequence(); at != 1 {
		t.Errorf("resumed at %d, expected 1", at)
	}
	old.ends(codes.Aborted)
	now.send(nth(2))
	now.acked(2)
}

func TestResumeAfterKill(t *testing.T) {
	s := serving(t)
	conn := s.Connect()
	k := newTalk(t, conn)
	session := k.init("").GetSessionId()
	for n := uint64(1); n <= 100; n++ {
		k.send(nth(n))
	}
	for n := uint64(1); n <= 100; n++ {
		k.acked(n)
	}
	for n := uint64(101); n <= 150; n++ {
		k.send(nth(n))
	}
	s.Kill()
	s.Start()

	k = newTalk(t, conn)
	at := k.init(session).GetInitialSequence()
	if at < 100 || at > 150 {
		t.Fatalf("resumed at %d, expected what was acked, 100, or more, and no more than was sent, 150", at)
	}
	k.send(nth(at + 2))
	k.refused(at+2, "resend from")
	k.send(nth(at + 1))
	k.acked(at + 1)
	if b := s.Drained(); b.Accepted != at+1 || b.Delivered != at+1 {
		t.Errorf("balance %+v, expected %d accepted and delivered", b, at+1)
	}
}

// TestPauseAndResume: a paused session refuses in-band, and goes on where it was.
func TestPauseAndResume(t *testing.T) {
	s := serving(t)
	k := newTalk(t, s.Connect())
	k.init("")
	k.send(nth(1))
	k.acked(1)
	flow := func(a engramv1.FlowControl_Action, want engramv1.StreamStatus_State) {
		t.Helper()
		k.send(&engramv1.ObservationRequest{Operation: &engramv1.ObservationRequest_Flow{Flow: &engramv1.FlowControl{Action: a}}})
		if st := k.answer().GetStatus(); st.GetState() != want {
			t.Fatalf("status %v, expected %v", st, want)
		}
	}
	flow(engramv1.FlowControl_ACTION_PAUSE, engramv1.StreamStatus_STATE_PAUSED)
	k.send(nth(2))
	if a := k.answer(); a.GetStatus().GetState() != engramv1.StreamStatus_STATE_PAUSED || a.GetSequenceNumber() != 2 {
		t.Errorf("answer %v, expected PAUSED for 2", a)
	}
	if b := s.Drained(); b.Delivered != 1 {
		t.Errorf("balance %+v, expected what was accepted to be delivered", b)
	}
	flow(engramv1.FlowControl_ACTION_RESUME, engramv1.StreamStatus_STATE_ACTIVE)
	k.send(nth(2))
	k.acked(2)
}

// TestSessionsExpireAcrossRestarts: the time that the sidecar was down is nobody's fault; what expired stays expired.
func TestSessionsExpireAcrossRestarts(t *testing.T) {
	const timeout = 4 * time.Second // the client has to be back within it, however busy the machine is
	s := serving(t, "--session-timeout", timeout.String())
	conn := s.Connect()
	k := newTalk(t, conn)
	session := k.init("").GetSessionId()
	k.send(nth(1))
	k.acked(1)
	s.Kill()
	<-time.After(timeout + time.Second) // nobody is there who could tell when it is over
	s.Start()
	k = newTalk(t, conn)
	if at := k.init(session).GetInitialSequence(); at != 1 {
		t.Errorf("resumed at %d, expected 1", at)
	}
	if err := k.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	k.ends(codes.OK)
	s.Await("the session to expire", func() (bool, error) {
		status, err := s.Status()
		return err == nil && status.Edge.Expired == 1, err
	})
	for range 2 {
		k = newTalk(t, conn)
		k.send(initOf(session))
		k.ends(codes.NotFound, "empty")
		s.Kill()
		s.Start()
	}
}
