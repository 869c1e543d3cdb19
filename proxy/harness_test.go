package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// edge is a server on a pipe in memory, with all it works with.
type edge struct {
	*Server
	t       *testing.T
	journal *fakeJournal
	ledger  *fakeLedger
	store   *fakeStore
	counts  *fakeCounts
	pb.EngramServiceClient
	conn   *grpc.ClientConn
	dial   func(opts ...grpc.DialOption) *grpc.ClientConn
	ctx    context.Context
	stop   context.CancelFunc // stops the server
	ended  chan struct{}      // Run has returned
	result error              // of Run
}

// testTime bounds a test that would hang for ever otherwise.
const testTime = 60 * time.Second

func newEdge(t *testing.T, cfg Config, restored ...session.Snapshot) *edge {
	t.Helper()
	return newEdgeWith(t, cfg, func(d *Deps) { d.Restored = restored })
}

// newEdgeWith lets change alter what the server works with.
func newEdgeWith(t *testing.T, cfg Config, change func(*Deps)) *edge {
	t.Helper()
	e := &edge{t: t, journal: newFakeJournal(t), store: &fakeStore{}, counts: &fakeCounts{refused: map[string]int{}}, ended: make(chan struct{})}
	e.ledger = newFakeLedger(e.journal)
	deps := Deps{
		Journal: e.journal, Store: e.store, Pending: e.ledger, Settlement: e.ledger, Lanes: e.ledger, News: NewNews(), Observer: e.counts,
	}
	change(&deps)
	server, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	e.Server = server
	listener := bufconn.Listen(1 << 16)
	ctx, stop := context.WithCancel(t.Context())
	e.stop = stop
	go func() {
		defer close(e.ended)
		e.result = server.Run(ctx, listener)
	}()
	e.dial = func(opts ...grpc.DialOption) *grpc.ClientConn {
		conn, err := grpc.NewClient("passthrough:///edge", append(opts,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	e.conn = e.dial()
	e.EngramServiceClient = pb.NewEngramServiceClient(e.conn)
	var cancel context.CancelFunc
	e.ctx, cancel = context.WithTimeout(t.Context(), testTime)
	t.Cleanup(func() { // runs before the connection's and the journal's
		cancel()
		e.journal.release()
		stop()
		<-e.ended
		if e.result != nil {
			t.Errorf("Run: %v", e.result)
		}
	})
	return e
}

// fakeCounts counts what the edge reports.
type fakeCounts struct {
	mu      sync.Mutex
	acked   int
	refused map[string]int
}

func (f *fakeCounts) Acked(n int, latency time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked += n
	if latency < 0 {
		f.acked = -1 << 30
	}
}

func (f *fakeCounts) Refused(reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused[reason]++
}

func (f *fakeCounts) of(reason string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused[reason]
}

// client is one observation stream. Any failure ends the test.
type client struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[pb.ObservationRequest, pb.ObservationResponse]
	cancel context.CancelFunc
	id     string // of the session
	first  uint64 // initial_sequence
}

// connect opens a stream without a message on it.
func (e *edge) connect(md ...string) *client {
	e.t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(e.ctx, md...))
	e.t.Cleanup(cancel)
	stream, err := e.ObserveStream(ctx)
	if err != nil {
		e.t.Fatal(err)
	}
	return &client{t: e.t, stream: stream, cancel: cancel}
}

// begin opens a session, or resumes the one named, with the init given.
func (e *edge) begin(id string, init *pb.StreamInit, md ...string) *client {
	e.t.Helper()
	c := e.connect(md...)
	c.init(id, init)
	return c
}

func (c *client) init(id string, init *pb.StreamInit) *pb.StreamInitAck {
	c.t.Helper()
	c.send(&pb.ObservationRequest{SessionId: id, Operation: &pb.ObservationRequest_Init{Init: init}})
	res := c.recv()
	ack := res.GetInitAck()
	if ack == nil || ack.GetSessionId() == "" || ack.GetSessionId() != res.GetSessionId() {
		c.t.Fatalf("init was answered with %v", res)
	}
	c.id, c.first = ack.GetSessionId(), ack.GetInitialSequence()
	return ack
}

func (c *client) send(r *pb.ObservationRequest) {
	c.t.Helper()
	if err := c.stream.Send(r); err != nil && !errors.Is(err, io.EOF) {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *client) observe(seqs ...uint64) {
	c.t.Helper()
	for _, seq := range seqs {
		c.send(observationOf(seq, episode("")))
	}
}

func (c *client) flow(f *pb.FlowControl) {
	c.t.Helper()
	c.send(&pb.ObservationRequest{Operation: &pb.ObservationRequest_Flow{Flow: f}})
}

func (c *client) close(drain bool, last uint64) {
	c.t.Helper()
	c.send(&pb.ObservationRequest{Operation: &pb.ObservationRequest_Close{Close: &pb.StreamClose{DrainQueue: drain, LastSequence: last}}})
}

func (c *client) recv() *pb.ObservationResponse {
	c.t.Helper()
	res, err := c.stream.Recv()
	if err != nil {
		c.t.Fatalf("recv: %v", err)
	}
	return res
}

// acks receives the acks of these sequences, in this order and with nothing between them.
func (c *client) acks(seqs ...uint64) {
	c.t.Helper()
	for _, seq := range seqs {
		res := c.recv()
		ack := res.GetAck()
		want := fmt.Sprintf("%s-%d", c.id, seq)
		if ack.GetStatus() != pb.ObservationAck_STATUS_ACCEPTED || res.GetSequenceNumber() != seq || ack.GetMemoryId() != want ||
			ack.GetCommittedAt().AsTime().IsZero() || res.GetSessionId() != c.id {
			c.t.Fatalf("want the ack of %d, got %v", seq, res)
		}
	}
}

// status receives a status that answers seq and whose message holds each of the texts.
func (c *client) status(seq uint64, state pb.StreamStatus_State, texts ...string) *pb.StreamStatus {
	c.t.Helper()
	res := c.recv()
	st := res.GetStatus()
	if st.GetState() != state || res.GetSequenceNumber() != seq {
		c.t.Fatalf("want %v for %d, got %v", state, seq, res)
	}
	for _, text := range texts {
		if !strings.Contains(st.GetMessage(), text) {
			c.t.Errorf("%q does not say %q", st.GetMessage(), text)
		}
	}
	return st
}

// end receives the end of the stream.
func (c *client) end(code codes.Code, texts ...string) {
	c.t.Helper()
	res, err := c.stream.Recv()
	if err == nil {
		c.t.Fatalf("want the end, got %v", res)
	}
	wantStatus(c.t, err, code, texts...)
}

func wantStatus(t *testing.T, err error, code codes.Code, texts ...string) {
	t.Helper()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if status.Code(err) != code {
		t.Fatalf("want %v, got %v", code, err)
	}
	for _, text := range texts {
		if !strings.Contains(status.Convert(err).Message(), text) {
			t.Errorf("%q does not say %q", status.Convert(err).Message(), text)
		}
	}
}

func observationOf(seq uint64, e *pb.Episode) *pb.ObservationRequest {
	return &pb.ObservationRequest{SequenceNumber: seq, Operation: &pb.ObservationRequest_Observation{Observation: e}}
}

// vector is an embedding that points mostly along one axis.
func vector(axis int) []float32 {
	v := make([]float32, 768)
	for i := range v {
		v[i] = 0.001
	}
	v[axis] = 1
	return v
}

func episode(id string) *pb.Episode {
	return &pb.Episode{Id: id, What: "something happened", Embedding: vector(1)}
}

func upTo(n uint64) []uint64 {
	seqs := make([]uint64, n)
	for i := range seqs {
		seqs[i] = uint64(i) + 1
	}
	return seqs
}

// encode is a message as gRPC hands it to a codec.
func encode(t *testing.T, m proto.Message) mem.BufferSlice {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}
}

// scan reads the message in hand as handle does.
func (o *observation) scan(t *testing.T) {
	t.Helper()
	if err := envelope.ScanObservation(o.in.frame, &o.in.obs); err != nil {
		t.Fatal(err)
	}
}
