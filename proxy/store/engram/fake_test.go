package engram

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is an Engram server in this process. It sees requests as the bytes that came, keeps what it stores, and fails as
// it is told. All of it is guarded by mu.
type fake struct {
	mu     sync.Mutex
	stored []string                  // ids in the order in which they were stored, again and again
	bytes  map[string][]byte         // the last request of each id
	held   map[string]storetest.Item // the state, by space and id
	alone  []string                  // ids that came by a call of their own
	opened int                       // StreamingRemember streams
	calls  []string                  // methods other than those

	refuse  map[string]error // answer for an id, always
	drop    map[string]error // for an id, once: store it and end the stream with this instead of an answer
	deaf    map[string]bool  // no answers any more, beginning with this id
	cut     map[string]bool  // end the stream with OK instead of answering this id
	chatty  bool             // two answers for each request of a stream
	answers map[string]proto.Message
	asked   raw           // the last request of another method
	reached chan struct{} // signalled whenever a deaf stream has gone quiet
	hangUp  chan struct{} // closed: streams that have gone quiet end

	listener *bufconn.Listener
	server   *grpc.Server
	down     bool
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{
		bytes: make(map[string][]byte), held: make(map[string]storetest.Item), refuse: make(map[string]error), drop: make(map[string]error),
		deaf: make(map[string]bool), cut: make(map[string]bool), reached: make(chan struct{}, 100),
		answers: map[string]proto.Message{"Introspect": &engramv1.IntrospectResponse{}},
	}
	f.start()
	t.Cleanup(f.stop)
	return f
}

func (f *fake) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = false
	f.listener = bufconn.Listen(1 << 20)
	f.server = grpc.NewServer(grpc.ForceServerCodecV2(codec{}), grpc.UnknownServiceHandler(f.serve), grpc.WaitForHandlers(true))
	server, listener := f.server, f.listener
	go func() { _ = server.Serve(listener) }() // ends with Stop, which the test's end calls
}

// stop breaks all connections, as a crash of the server would.
func (f *fake) stop() {
	f.mu.Lock()
	f.down = true
	server := f.server
	f.mu.Unlock()
	server.Stop()
}

func (f *fake) dial(ctx context.Context, _ string) (net.Conn, error) {
	f.mu.Lock()
	listener, down := f.listener, f.down
	f.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	return listener.DialContext(ctx)
}

// open returns a store that speaks to f.
func (f *fake) open(t *testing.T, timeout time.Duration) *Store {
	t.Helper()
	s, err := Open(Config{Address: "engram.test:50051", Timeout: timeout}, nil,
		grpc.WithContextDialer(f.dial), grpc.WithResolvers(passthrough{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (f *fake) serve(_ any, stream grpc.ServerStream) error {
	full, _ := grpc.MethodFromServerStream(stream)
	switch method := path.Base(full); method {
	case "StreamingRemember":
		return f.serveStream(stream)
	case "Remember":
		var request raw
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		id := f.identify(request)
		f.mu.Lock()
		f.alone = append(f.alone, id)
		f.mu.Unlock()
		if err := f.take(id, request); err != nil {
			return err
		}
		return stream.SendMsg(respond(&engramv1.RememberResponse{MemoryId: id}))
	default:
		return f.serveOther(method, stream)
	}
}

func (f *fake) serveOther(method string, stream grpc.ServerStream) error {
	f.mu.Lock()
	f.calls = append(f.calls, method)
	answer, err := f.answers[method], f.refuse[method]
	f.mu.Unlock()
	if err != nil {
		return err
	}
	if answer == nil {
		return status.Errorf(codes.Unimplemented, "no %s here", method)
	}
	var request raw
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	f.mu.Lock()
	f.asked = slices.Clone(request)
	f.mu.Unlock()
	return stream.SendMsg(respond(answer))
}

func (f *fake) serveStream(stream grpc.ServerStream) error {
	f.mu.Lock()
	f.opened++
	f.mu.Unlock()
	for {
		var request raw
		if err := stream.RecvMsg(&request); err != nil {
			return nil // the client has ended it
		}
		id := f.identify(request)
		if f.is(f.deaf, id) {
			f.reached <- struct{}{}
			select {
			case <-stream.Context().Done():
			case <-f.hangUp:
			}
			return nil
		}
		if f.is(f.cut, id) {
			return nil
		}
		if err := f.take(id, request); err != nil {
			return err
		}
		f.mu.Lock()
		dropped, repeat := f.drop[id], 1
		delete(f.drop, id)
		if f.chatty {
			repeat = 2
		}
		f.mu.Unlock()
		if dropped != nil {
			return dropped
		}
		for range repeat {
			if err := stream.SendMsg(respond(&engramv1.RememberResponse{MemoryId: id})); err != nil {
				return err
			}
		}
	}
}

// take stores a request or refuses it.
func (f *fake) take(id string, request raw) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refuse[id]; err != nil {
		return err
	}
	var m engramv1.RememberRequest
	if err := proto.Unmarshal(request, &m); err != nil {
		return status.Errorf(codes.Internal, "cannot decode: %v", err)
	}
	e, memory := m.GetEpisode(), m.GetMemory()
	if n := len(e.GetEmbedding()) + len(memory.GetEmbedding()); n != 768 {
		return status.Errorf(codes.InvalidArgument, "embedding of %d dimensions", n)
	}
	f.held[m.GetMemorySpaceId()+"/"+id] = storetest.Item{ID: id, Text: e.GetWhat() + memory.GetContent()}
	f.stored = append(f.stored, id)
	f.bytes[id] = slices.Clone(request)
	return nil
}

func (f *fake) is(what map[string]bool, id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return what[id]
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) identify(request raw) string {
	var m engramv1.RememberRequest
	if err := proto.Unmarshal(request, &m); err != nil {
		return "undecodable"
	}
	return m.GetEpisode().GetId() + m.GetMemory().GetId()
}

func respond(m proto.Message) raw {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// record makes an observation of session n; its id is s<session>-<sequence>.
func record(t testing.TB, session byte, sequence uint64) wal.Record {
	t.Helper()
	id := fmt.Sprintf("s%d-%d", session, sequence)
	vector := make([]float32, 768)
	vector[sequence%768] = 1
	payload, err := proto.Marshal(&engramv1.Episode{Id: id, What: "what happened", Embedding: vector})
	if err != nil {
		t.Fatal(err)
	}
	r := wal.Record{
		Kind: wal.KindWrite, Form: wal.FormEpisode, Lane: wal.LaneNormal, Sequence: sequence,
		Space: "work", ID: []byte(id), Payload: payload, Index: sequence,
	}
	if session != 0 {
		r.Session = wal.SessionID{session}
	}
	return r
}

// records makes the observations first to last of one session.
func records(t testing.TB, session byte, first, last uint64) (batch []wal.Record) {
	t.Helper()
	for n := first; n <= last; n++ {
		batch = append(batch, record(t, session, n))
	}
	return batch
}

func ids(batch []wal.Record) (ids []string) {
	for _, r := range batch {
		ids = append(ids, string(r.ID))
	}
	return ids
}
