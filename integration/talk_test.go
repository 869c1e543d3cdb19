package integration

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// talk is one ObserveStream, message by message. Every method fails the test when the sidecar does not do what the
// method's name says.
type talk struct {
	t      testing.TB
	stream grpc.BidiStreamingClient[engramv1.ObservationRequest, engramv1.ObservationResponse]
}

// newTalk opens a stream that ends with the test.
func newTalk(t testing.TB, conn *grpc.ClientConn) *talk {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	t.Cleanup(cancel)
	stream, err := engramv1.NewEngramServiceClient(conn).ObserveStream(ctx, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return &talk{t, stream}
}

// send sends one request. That the stream is over is for the next answer to say.
func (k *talk) send(request *engramv1.ObservationRequest) {
	k.t.Helper()
	if err := k.stream.Send(request); err != nil && !errors.Is(err, io.EOF) {
		k.t.Fatal(err)
	}
}

func initOf(session string) *engramv1.ObservationRequest {
	return &engramv1.ObservationRequest{
		SessionId: session, Operation: &engramv1.ObservationRequest_Init{Init: &engramv1.StreamInit{}},
	}
}

func observe(sequence uint64, e *engramv1.Episode) *engramv1.ObservationRequest {
	return &engramv1.ObservationRequest{
		SequenceNumber: sequence, Operation: &engramv1.ObservationRequest_Observation{Observation: e},
	}
}

func closeOf(last uint64, drain bool) *engramv1.ObservationRequest {
	return &engramv1.ObservationRequest{
		Operation: &engramv1.ObservationRequest_Close{Close: &engramv1.StreamClose{LastSequence: last, DrainQueue: drain}},
	}
}

// nth is the n-th observation of these tests.
func nth(n uint64) *engramv1.ObservationRequest {
	return observe(n, harness.EpisodeOf(harness.Observation{Session: "talk", Sequence: n}))
}

// init opens or resumes a session and returns what the sidecar answered.
func (k *talk) init(session string) *engramv1.StreamInitAck {
	k.t.Helper()
	k.send(initOf(session))
	ack := k.answer().GetInitAck()
	if ack == nil {
		k.t.Fatal("expected an init_ack")
	}
	return ack
}

func (k *talk) answer() *engramv1.ObservationResponse {
	k.t.Helper()
	answer, err := k.stream.Recv()
	if err != nil {
		k.t.Fatalf("expected an answer: %v", err)
	}
	return answer
}

// acked expects the ACCEPTED of one sequence.
func (k *talk) acked(sequence uint64) *engramv1.ObservationAck {
	k.t.Helper()
	answer := k.answer()
	if answer.GetAck().GetStatus() != engramv1.ObservationAck_STATUS_ACCEPTED || answer.GetSequenceNumber() != sequence {
		k.t.Fatalf("answer %v, expected the ack of %d", answer, sequence)
	}
	return answer.GetAck()
}

// refused expects an in-band error that echoes the sequence and says all of the words.
func (k *talk) refused(sequence uint64, says ...string) {
	k.t.Helper()
	answer := k.answer()
	st := answer.GetStatus()
	if st.GetState() != engramv1.StreamStatus_STATE_ERROR || answer.GetSequenceNumber() != sequence {
		k.t.Fatalf("answer %v, expected an error about sequence %d", answer, sequence)
	}
	for _, words := range says {
		if !strings.Contains(st.GetMessage(), words) {
			k.t.Errorf("message %q, expected it to say %q", st.GetMessage(), words)
		}
	}
}

// ends expects the end of the stream with a code and a message that says the words.
func (k *talk) ends(code codes.Code, says ...string) {
	k.t.Helper()
	answer, err := k.stream.Recv()
	if code == codes.OK && errors.Is(err, io.EOF) {
		return
	}
	if err == nil || status.Code(err) != code {
		k.t.Fatalf("answer %v, error %v; expected the stream to end with %v", answer, err, code)
	}
	for _, words := range says {
		if !strings.Contains(status.Convert(err).Message(), words) {
			k.t.Errorf("%v: expected it to say %q", err, words)
		}
	}
}
