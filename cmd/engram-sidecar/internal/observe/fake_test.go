package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sidecar is a server that keeps one session in memory, by the rules of the protocol. What it does wrong, and when, is
// set by a test before the stream begins.
type sidecar struct {
	engramv1.UnimplementedEngramServiceServer

	mu       sync.Mutex
	session  string
	got      []*engramv1.Episode // what is durable; the sequence is the place + 1
	closed   bool
	paused   bool
	inits    []*engramv1.ObservationRequest
	metadata []metadata.MD
	arrived  chan uint64 // told of each sequence that arrives, where it is not nil

	dropAt    map[uint64]drop // ends the stream when this sequence arrives, once
	refuse    map[string]bool // episodes with this text are invalid
	overload  map[uint64]bool // sequences that are refused once for want of room
	mute      bool            // never acks
	initErr   error           // answers every init
	onClose   error           // ends the stream instead of a CLOSED, once
	quiet     bool            // ends the stream at a close without a CLOSED
	forget    uint64          // lose the last so many before the next resume
	invent    uint64          // claims so many more at the next resume
	ackTwice  bool
	ackAhead  uint64 // acks name a sequence so much higher
	wrongInit bool
}

// drop is a stream's end in the middle of an observation.
type drop struct {
	err     error
	durable bool // the observation was journaled before, and its ack lost
}

const theSession = "00000000-0000-4000-8000-000000000001"

func (s *sidecar) ObserveStream(stream grpc.BidiStreamingServer[engramv1.ObservationRequest, engramv1.ObservationResponse]) error {
	init, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := s.open(stream, init); err != nil {
		return err
	}
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer, err := s.handle(req)
		if err != nil {
			return err
		}
		if answer == nil {
			continue
		}
		answer.SequenceNumber = req.SequenceNumber + s.ackAhead
		for range 1 + btoi(s.ackTwice) {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
		if answer.GetStatus().GetState() == engramv1.StreamStatus_STATE_CLOSED {
			return nil
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *sidecar) open(stream grpc.BidiStreamingServer[engramv1.ObservationRequest, engramv1.ObservationResponse], init *engramv1.ObservationRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	md, _ := metadata.FromIncomingContext(stream.Context())
	s.inits, s.metadata = append(s.inits, init), append(s.metadata, md)
	if s.initErr != nil {
		return s.initErr
	}
	if s.wrongInit {
		return stream.Send(&engramv1.ObservationResponse{})
	}
	switch {
	case init.SessionId == "":
		s.session = theSession
	case init.SessionId != s.session:
		return status.Error(codes.NotFound, "no such session: start a new one with an empty session_id")
	case s.closed:
		return status.Error(codes.FailedPrecondition, "the session was closed")
	default:
		s.got = s.got[:uint64(len(s.got))-s.forget]
	}
	claim := uint64(len(s.got)) + s.invent*uint64(btoi(init.SessionId != ""))
	return stream.Send(&engramv1.ObservationResponse{Result: &engramv1.ObservationResponse_InitAck{
		InitAck: &engramv1.StreamInitAck{SessionId: s.session, InitialSequence: claim},
	}})
}

func (s *sidecar) handle(req *engramv1.ObservationRequest) (*engramv1.ObservationResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch op := req.Operation.(type) {
	case *engramv1.ObservationRequest_Observation:
		return s.observe(op.Observation, req.SequenceNumber)
	case *engramv1.ObservationRequest_Flow:
		s.paused = op.Flow.Action == engramv1.FlowControl_ACTION_PAUSE
		return say(engramv1.StreamStatus_STATE_ACTIVE, "as you wish"), nil
	case *engramv1.ObservationRequest_Close:
		s.closed = true
		if err := s.onClose; err != nil {
			s.onClose = nil
			return nil, err
		}
		if s.quiet {
			return nil, nil
		}
		return say(engramv1.StreamStatus_STATE_CLOSED, fmt.Sprintf("closed, drained: %v", op.Close.DrainQueue)), nil
	}
	return nil, status.Error(codes.InvalidArgument, "no operation")
}

func (s *sidecar) observe(e *engramv1.Episode, sequence uint64) (*engramv1.ObservationResponse, error) {
	if s.arrived != nil {
		s.arrived <- sequence
	}
	d, dropped := s.dropAt[sequence]
	delete(s.dropAt, sequence)
	if dropped && !d.durable {
		return nil, d.err
	}
	next := uint64(len(s.got)) + 1
	switch {
	case s.paused:
		return say(engramv1.StreamStatus_STATE_PAUSED, "paused"), nil
	case sequence != next:
		return say(engramv1.StreamStatus_STATE_ERROR, fmt.Sprintf("sequence mismatch: expected %d, got %d; resend from %d", next, sequence, next)), nil
	case s.overload[sequence]:
		delete(s.overload, sequence)
		return say(engramv1.StreamStatus_STATE_OVERLOADED, "overloaded; retry after 1s"), nil
	case s.refuse[e.What]:
		return say(engramv1.StreamStatus_STATE_ERROR, "what: not to my taste"), nil
	}
	s.got = append(s.got, e)
	if dropped {
		return nil, d.err
	}
	if s.mute {
		return nil, nil
	}
	return &engramv1.ObservationResponse{Result: &engramv1.ObservationResponse_Ack{
		Ack: &engramv1.ObservationAck{Status: engramv1.ObservationAck_STATUS_ACCEPTED, MemoryId: e.Id},
	}}, nil
}

func say(state engramv1.StreamStatus_State, message string) *engramv1.ObservationResponse {
	return &engramv1.ObservationResponse{Result: &engramv1.ObservationResponse_Status{
		Status: &engramv1.StreamStatus{State: state, Message: message},
	}}
}

// texts lists what is durable.
func (s *sidecar) texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, e := range s.got {
		texts = append(texts, e.What)
	}
	return texts
}

// serve runs s in this process for the length of the test and returns a client of it.
func serve(t *testing.T, s *sidecar) engramv1.EngramServiceClient {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	engramv1.RegisterEngramServiceServer(server, s)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }() // ends at the Stop below
	conn, err := grpc.NewClient("passthrough:///fake",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("fake: %v", err)
		}
	})
	return engramv1.NewEngramServiceClient(conn)
}
