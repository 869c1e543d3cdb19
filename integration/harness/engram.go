package harness

import (
	"context"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// Engram is an Engram server in the test process: it stores by memory id, answers StreamingRemember in order, ends
// the stream at a refusal, and tells the oracle of everything it takes. It can be stopped and started again on the same
// address; what it holds survives that.
type Engram struct {
	engramv1.UnimplementedEngramServiceServer

	t       testing.TB
	Address string
	oracle  *Oracle
	Epoch   *Epoch               // nil: every delivery is taken
	Arrived map[Observation]bool // nil: not noted

	mu     sync.Mutex
	server *grpc.Server // nil while stopped
	faults Faults
	taken  int // deliveries so far
	met    []metadata.MD
}

// Faults are the knobs. Each says what happens to a delivery; nil and 0 leave it alone.
type Faults struct {
	Delay   time.Duration                   // before it is taken
	Refuse  func(e *engramv1.Episode) error // a status other than OK: not stored, the stream ends
	Swallow func(taken int) bool            // stored, and the stream ends without an answer
}

// NewEngram starts one that lasts until the end of the test.
func NewEngram(t testing.TB, oracle *Oracle) *Engram {
	t.Helper()
	f := &Engram{t: t, Address: FreeAddress(t), oracle: oracle}
	for f.listen() != nil { // another test run may have taken it meanwhile
		f.Address = FreeAddress(t)
	}
	t.Cleanup(f.Stop)
	return f
}

// Start begins to serve.
func (f *Engram) Start() {
	f.t.Helper()
	if err := f.listen(); err != nil {
		f.t.Fatalf("the fake Engram store cannot listen: %v", err)
	}
}

func (f *Engram) listen() error {
	listener, err := net.Listen("tcp", f.Address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	engramv1.RegisterEngramServiceServer(server, f)
	f.mu.Lock()
	f.server = server
	f.mu.Unlock()
	go func() { _ = server.Serve(listener) }() // ends with Stop
	return nil
}

// Stop breaks every connection and waits for what was under way.
func (f *Engram) Stop() {
	f.mu.Lock()
	server := f.server
	f.server = nil
	f.mu.Unlock()
	if server != nil {
		server.Stop()
	}
}

// Running says whether it serves.
func (f *Engram) Running() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.server != nil
}

// Set turns the knobs.
func (f *Engram) Set(next Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = next
}

// StreamingRemember implements the service.
func (f *Engram) StreamingRemember(stream grpc.BidiStreamingServer[engramv1.RememberRequest, engramv1.RememberResponse]) error {
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
func (f *Engram) Remember(ctx context.Context, request *engramv1.RememberRequest) (*engramv1.RememberResponse, error) {
	e := request.GetEpisode()
	if len(e.GetEmbedding()) != Dimensions {
		return nil, status.Errorf(codes.InvalidArgument, "embedding of %d dimensions", len(e.GetEmbedding()))
	}
	f.mu.Lock()
	knobs := f.faults
	f.mu.Unlock()
	if knobs.Delay > 0 {
		select {
		case <-time.After(knobs.Delay):
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	if knobs.Refuse != nil {
		if err := knobs.Refuse(e); err != nil {
			return nil, err
		}
	}
	taken, counts := f.take(e)
	if !counts {
		return nil, status.Error(codes.Unavailable, "too late")
	}
	if knobs.Swallow != nil && knobs.Swallow(taken) {
		return nil, status.Error(codes.Unavailable, "stored, but nobody hears of it")
	}
	return &engramv1.RememberResponse{
		MemoryId: e.GetId(), InitialState: engramv1.ConsolidationState_CONSOLIDATION_STATE_RECENT,
	}, nil
}

// take stores an episode, unless the epoch has ended. One at a time: the oracle's history has the store's own order.
func (f *Engram) take(e *engramv1.Episode) (taken int, counts bool) {
	of, digest, err := ObservationIn(e)
	if err != nil {
		of = Observation{Session: e.GetWhat()} // the oracle knows no such session
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	counts = f.Epoch.during(f.Epoch.now(), func() {
		f.taken++
		if f.oracle != nil {
			f.oracle.Stored(of, e.GetId(), digest)
		}
		if f.Arrived != nil {
			f.Arrived[of] = true
		}
	})
	return f.taken, counts
}

// Holds returns what has arrived so far, where Arrived was made before the first delivery.
func (f *Engram) Holds() map[Observation]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.Arrived)
}
