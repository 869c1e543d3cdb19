package integration

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// fakeEngram is an Engram server in the test process: it stores by memory id, answers StreamingRemember in order, ends
// the stream at a refusal, and tells the oracle of everything it takes. It can be stopped and started again on the same
// address; what it holds survives that.
type fakeEngram struct {
	engramv1.UnimplementedEngramServiceServer

	t       testing.TB
	address string
	oracle  *Oracle

	mu     sync.Mutex
	server *grpc.Server // nil while stopped
	faults faults
	taken  int // deliveries so far
}

// faults are the knobs. Each says what happens to a delivery; nil and 0 leave it alone.
type faults struct {
	delay   time.Duration                   // before it is taken
	refuse  func(e *engramv1.Episode) error // a status other than OK: not stored, the stream ends
	swallow func(taken int) bool            // stored, and the stream ends without an answer
}

// newFakeEngram starts one that lasts until the end of the test.
func newFakeEngram(t testing.TB, oracle *Oracle) *fakeEngram {
	t.Helper()
	f := &fakeEngram{t: t, address: freeAddress(t), oracle: oracle}
	f.start()
	t.Cleanup(f.stop)
	return f
}

// start begins to serve.
func (f *fakeEngram) start() {
	f.t.Helper()
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		f.t.Fatalf("the fake Engram store cannot listen: %v", err)
	}
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	engramv1.RegisterEngramServiceServer(server, f)
	f.mu.Lock()
	f.server = server
	f.mu.Unlock()
	go func() { _ = server.Serve(listener) }() // ends with stop
}

// stop breaks every connection and waits for what was under way.
func (f *fakeEngram) stop() {
	f.mu.Lock()
	server := f.server
	f.server = nil
	f.mu.Unlock()
	if server != nil {
		server.Stop()
	}
}

func (f *fakeEngram) running() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.server != nil
}

// set turns the knobs.
func (f *fakeEngram) set(next faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = next
}

// StreamingRemember implements the service.
func (f *fakeEngram) StreamingRemember(stream grpc.BidiStreamingServer[engramv1.RememberRequest, engramv1.RememberResponse]) error {
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // the client has ended the stream or is gone
		}
		answer, err := f.Remember(stream.Context(), request)
		if err != nil {
			return err
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

// Remember implements the service.
func (f *fakeEngram) Remember(ctx context.Context, request *engramv1.RememberRequest) (*engramv1.RememberResponse, error) {
	e := request.GetEpisode()
	if len(e.GetEmbedding()) != dimensions {
		return nil, status.Errorf(codes.InvalidArgument, "embedding of %d dimensions", len(e.GetEmbedding()))
	}
	f.mu.Lock()
	knobs := f.faults
	f.mu.Unlock()
	if knobs.delay > 0 {
		select {
		case <-time.After(knobs.delay):
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	if knobs.refuse != nil {
		if err := knobs.refuse(e); err != nil {
			return nil, err
		}
	}
	if taken := f.take(e); knobs.swallow != nil && knobs.swallow(taken) {
		return nil, status.Error(codes.Unavailable, "stored, but nobody hears of it")
	}
	return &engramv1.RememberResponse{
		MemoryId: e.GetId(), InitialState: engramv1.ConsolidationState_CONSOLIDATION_STATE_RECENT,
	}, nil
}

// take stores an episode. One at a time: the oracle's history has the store's own order.
func (f *fakeEngram) take(e *engramv1.Episode) int {
	of, digest, err := observationIn(e)
	if err != nil {
		of = Observation{Session: e.GetWhat()} // the oracle knows no such session
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken++
	if f.oracle != nil {
		f.oracle.Stored(of, e.GetId(), digest)
	}
	return f.taken
}
