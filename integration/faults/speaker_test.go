package faults

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// speaker is one session that waits for the ack of each observation before it sends the next. Any other answer fails the
// test.
type speaker struct {
	t      testing.TB
	name   string
	stream grpc.BidiStreamingClient[engramv1.ObservationRequest, engramv1.ObservationResponse]
	oracle *harness.Oracle
	id     string
	acked  uint64
}

// newSpeaker opens a session that the oracle knows as "speaker".
func newSpeaker(t testing.TB, s *harness.Sidecar, oracle *harness.Oracle) *speaker {
	t.Helper()
	p, err := trySpeaker(t, s, oracle, "speaker")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// trySpeaker opens a session under a name for the oracle, where the sidecar lets it.
func trySpeaker(t testing.TB, s *harness.Sidecar, oracle *harness.Oracle, name string) (*speaker, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := engramv1.NewEngramServiceClient(s.Connect()).ObserveStream(ctx, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	p := &speaker{t: t, name: name, stream: stream, oracle: oracle}
	p.send(&engramv1.ObservationRequest{Operation: &engramv1.ObservationRequest_Init{Init: &engramv1.StreamInit{EnableBackpressure: true}}})
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if p.id = answer.GetInitAck().GetSessionId(); p.id == "" {
		return nil, fmt.Errorf("the answer to init was %v", answer)
	}
	return p, nil
}

func (p *speaker) send(request *engramv1.ObservationRequest) {
	p.t.Helper()
	if err := p.stream.Send(request); err != nil {
		p.t.Fatal(err)
	}
}

func (p *speaker) answer() *engramv1.ObservationResponse {
	p.t.Helper()
	answer, err := p.stream.Recv()
	if err != nil {
		p.t.Fatal(err)
	}
	return answer
}

// try sends the next observation and says whether it was acked; one that was refused for want of room is not.
func (p *speaker) try() bool {
	p.t.Helper()
	of := harness.Observation{Session: p.name, Sequence: p.acked + 1}
	e := harness.EpisodeOf(of)
	p.oracle.Sent(of, harness.DigestOf(e))
	p.send(&engramv1.ObservationRequest{
		SequenceNumber: of.Sequence, Operation: &engramv1.ObservationRequest_Observation{Observation: e},
	})
	for {
		answer := p.answer()
		switch status := answer.GetStatus(); {
		case status.GetState() == engramv1.StreamStatus_STATE_OVERLOADED && answer.GetSequenceNumber() == of.Sequence:
			return false
		case status != nil:
			continue // it tells of pressure
		}
		if answer.GetAck().GetStatus() != engramv1.ObservationAck_STATUS_ACCEPTED || answer.GetSequenceNumber() != of.Sequence {
			p.t.Fatalf("answer %v, expected the ack of %d", answer, of.Sequence)
		}
		p.oracle.Acked(of, answer.GetAck().GetMemoryId())
		p.acked++
		return true
	}
}

// observe sends the next observation and returns when it is acked.
func (p *speaker) observe() {
	p.t.Helper()
	if !p.try() {
		p.t.Fatalf("observation %d was refused for want of room", p.acked+1)
	}
}
