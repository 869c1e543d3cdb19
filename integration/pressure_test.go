package integration

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// withPriority opens a session of a lane, whose client wants to know of pressure.
func withPriority(t *testing.T, conn *grpc.ClientConn, priority string) (*talk, *engramv1.StreamCapabilities) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	t.Cleanup(cancel)
	stream, err := engramv1.NewEngramServiceClient(conn).ObserveStream(metadata.AppendToOutgoingContext(ctx, "engram-priority", priority))
	if err != nil {
		t.Fatal(err)
	}
	k := &talk{t, stream}
	k.send(&engramv1.ObservationRequest{Operation: &engramv1.ObservationRequest_Init{Init: &engramv1.StreamInit{EnableBackpressure: true}}})
	return k, k.answer().GetInitAck().GetCapabilities()
}

// TestFullLane: while the store is away a lane fills up to its limit, is refused with the way out, and holds up no other. What
// was refused is taken once the store is back.
func TestFullLane(t *testing.T) {
	const limit = 5
	f := newForwarding(t, "--lane-capacity", "0,0,5", "--journal-max-bytes", "64MiB", "--client-observations-per-second", "1000000")
	f.store.Stop()
	conn := f.sidecar.Connect()
	low, caps := withPriority(t, conn, "low")
	if caps.GetQueueCapacity() != limit || caps.GetMaxObservationsPerSecond() != 1_000_000 {
		t.Errorf("capabilities %v, expected the lane's limit and the quota", caps)
	}
	// Each when the one before it is acked: what is under way when the limit is reached is still taken.
	var refusal *engramv1.ObservationResponse
	for n := uint64(1); n <= limit+1; n++ {
		low.send(nth(n))
		for refusal = low.answer(); refusal.GetSequenceNumber() == 0; {
			refusal = low.answer() // BACKPRESSURE, from four of five on
		}
		if n <= limit && refusal.GetAck() == nil {
			t.Fatalf("answer %v, expected the ack of %d", refusal, n)
		}
	}
	st := refusal.GetStatus()
	if refusal.GetSequenceNumber() != limit+1 || st.GetState() != engramv1.StreamStatus_STATE_OVERLOADED ||
		st.GetQueueDepth() != limit || st.GetQueueCapacity() != limit || st.GetPressure() != 1 {
		t.Fatalf("answer %v, expected OVERLOADED behind %d", refusal, limit)
	}
	for _, words := range []string{"lane full: 5 of 5 observations of priority low wait for the store (lane-capacity)", "; retry after ", "s, resend from 6"} {
		if !strings.Contains(st.GetMessage(), words) {
			t.Errorf("%q does not say %q", st.GetMessage(), words)
		}
	}

	high, caps := withPriority(t, conn, "high")
	// What the journal's quota holds of records of the mean size: an observation's is 3.1 to 3.6 KB, and the sessions' few, of
	// hardly a hundred bytes, count as well.
	if n := caps.GetQueueCapacity(); n < 64<<20/3600 || n > 2*(64<<20/3100) {
		t.Errorf("queue capacity %d, expected what 64 MiB hold of the records so far, 20,000 to 40,000", n)
	}
	for n := uint64(1); n <= 20; n++ {
		high.send(nth(n))
	}
	for n := uint64(1); n <= 20; n++ {
		high.acked(n) // nothing between them: no warning is meant for this lane
	}
	f.store.Start()
	f.sidecar.Drained()
	low.send(nth(limit + 1))
	a := low.answer()
	for a.GetSequenceNumber() == 0 {
		a = low.answer() // ACTIVE
	}
	if a.GetAck() == nil || a.GetSequenceNumber() != limit+1 {
		t.Errorf("answer %v, expected the ack of %d", a, limit+1)
	}
	if b := f.sidecar.Drained(); b.Accepted != limit+1+20 || b.Delivered != b.Accepted {
		t.Errorf("balance %+v, expected %d accepted and delivered", b, limit+1+20)
	}
}

// TestFullLaneTellsWritersWhenToRetry: what belongs to no session goes with the normal lane, and is refused when that is full.
func TestFullLaneTellsWritersWhenToRetry(t *testing.T) {
	s := serving(t, "--store", "engram://"+harness.FreeAddress(t), "--lane-capacity", "0,1,0")
	client := engramv1.NewEngramServiceClient(s.Connect())
	request := func(n uint64) *engramv1.RememberRequest {
		return &engramv1.RememberRequest{MemoryType: &engramv1.RememberRequest_Episode{
			Episode: harness.EpisodeOf(harness.Observation{Session: "unary", Sequence: n}),
		}}
	}
	if _, err := client.Remember(bounded(t), request(1)); err != nil {
		t.Fatal(err)
	}
	_, err := client.Remember(bounded(t), request(2))
	st := status.Convert(err)
	if st.Code() != codes.ResourceExhausted || !strings.Contains(st.Message(), "lane full: 1 of 1 observations of priority normal") {
		t.Fatalf("%v, expected RESOURCE_EXHAUSTED with the lane and its limit", err)
	}
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.GetRetryDelay().AsDuration() > 0 {
			return
		}
	}
	t.Errorf("details %v, expected when to retry", st.Details())
}
