package proxy

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/access"
	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// The tokens of these tests, as their file names them.
const (
	allToken    = "all-token-0123456789abcd"
	notesToken  = "notes-token-0123456789ab"
	readerToken = "reader-token-0123456789a"
	opsToken    = "ops-token-0123456789abcd"
)

// guarded is an edge that wants tokens; change rewrites their file and reloads it.
func guarded(t *testing.T) (e *edge, change func(text string)) {
	t.Helper()
	ring, change := tokens(t)
	return newEdgeWith(t, Config{}, func(d *Deps) { d.Tokens = ring }), change
}

// tokens are those of these tests.
func tokens(t *testing.T) (ring *access.Ring, change func(text string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("all " + allToken + " *:rw\nnotes " + notesToken + " notes:rw\nreader " + readerToken + " notes:r\nops " + opsToken + " admin\n")
	ring, err := access.LoadRing(path)
	if err != nil {
		t.Fatal(err)
	}
	return ring, func(text string) {
		put(text)
		if err := ring.Reload(); err != nil {
			t.Fatal(err)
		}
	}
}

func codeIn(err error) codes.Code {
	if errors.Is(err, io.EOF) {
		return codes.OK
	}
	return status.Code(err)
}

func with(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// everyMethod lists the paths of all services served here, and some that are not.
func everyMethod() []string {
	paths := []string{
		"/engram.v1.EngramService/Levitate", "/no.such.Service/Do", "/grpc.health.v1.Health/Check",
		"/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/List", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "/", "//", "/engram.v1.EngramService/",
	}
	methods := pb.File_engram_v1_service_proto.Services().ByName("EngramService").Methods()
	for i := range methods.Len() {
		paths = append(paths, "/engram.v1.EngramService/"+string(methods.Get(i).Name()))
	}
	return paths
}

func TestNothingIsAnsweredWithoutAToken(t *testing.T) {
	e, _ := guarded(t)
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	for _, path := range everyMethod() {
		for name, md := range map[string]metadata.MD{
			"none":           {},
			"a wrong one":    metadata.Pairs("authorization", "Bearer wrong-token-0123456789"),
			"another scheme": metadata.Pairs("authorization", "Basic "+allToken),
			"no scheme":      metadata.Pairs("authorization", allToken),
			"two":            metadata.Pairs("authorization", "Bearer "+allToken, "authorization", "Bearer "+notesToken),
			"another key":    metadata.Pairs("token", allToken),
		} {
			stream, err := e.conn.NewStream(metadata.NewOutgoingContext(e.ctx, md), desc, path)
			if err == nil {
				err = stream.RecvMsg(&pb.RecallResponse{})
			}
			wantStatus(t, err, codes.Unauthenticated, "wants a token")
			if strings.Contains(err.Error(), allToken) {
				t.Errorf("%s, %s: the refusal tells a token: %v", path, name, err)
			}
		}
	}
	if n := e.counts.of(ReasonDenied); n == 0 {
		t.Error("no refusal was counted")
	}
	if n := len(e.journal.records(wal.KindWrite)); n != 0 {
		t.Errorf("%d records were journaled", n)
	}
}

func TestATokenOpensHealthAndReflection(t *testing.T) {
	e, _ := guarded(t)
	for _, token := range []string{allToken, notesToken, opsToken} {
		if _, err := grpc_health_v1.NewHealthClient(e.conn).Check(with(e.ctx, token), &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Errorf("health: %v", err)
		}
		ctx, cancel := context.WithCancel(with(e.ctx, token))
		stream, err := grpc_reflection_v1.NewServerReflectionClient(e.conn).ServerReflectionInfo(ctx)
		if err == nil {
			err = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
		}
		if err == nil {
			_, err = stream.Recv()
		}
		cancel()
		if err != nil {
			t.Errorf("reflection: %v", err)
		}
	}
}

func TestRightsInASpace(t *testing.T) {
	e, _ := guarded(t)
	remember := func(token, space string) error {
		_, err := e.Remember(with(e.ctx, token), rememberOf(space, ""))
		return err
	}
	recall := func(token, space string) error {
		_, err := e.Recall(with(e.ctx, token), &pb.RecallRequest{MemorySpaceId: space, Cue: cueOf(vector(1))})
		return err
	}
	recallStream := func(token, space string) error {
		stream, err := e.RecallStream(with(e.ctx, token), &pb.StreamingRecallRequest{MemorySpaceId: space, Cue: cueOf(vector(1))})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	streamingRecall := func(token, space string) error {
		stream, err := e.StreamingRecall(with(e.ctx, token))
		if err != nil {
			return err
		}
		_ = stream.Send(&pb.RecallRequest{MemorySpaceId: space, Cue: cueOf(vector(1))}) // Recv tells
		_, err = stream.Recv()
		return err
	}
	streamingRemember := func(token, space string) error {
		stream, err := e.StreamingRemember(with(e.ctx, token))
		if err != nil {
			return err
		}
		_ = stream.Send(rememberOf(space, "")) // Recv tells
		_, err = stream.Recv()
		return err
	}
	observe := func(token, space string) error {
		stream, err := e.ObserveStream(with(e.ctx, token))
		if err != nil {
			return err
		}
		_ = stream.Send(&pb.ObservationRequest{MemorySpaceId: space, Operation: &pb.ObservationRequest_Init{Init: &pb.StreamInit{}}})
		_, err = stream.Recv()
		return err
	}
	cases := []struct {
		name, token, space string
		read, write        codes.Code
	}{
		{"its space", notesToken, "notes", codes.OK, codes.OK},
		{"another space", notesToken, "logs", codes.PermissionDenied, codes.PermissionDenied},
		{"the default space is another", notesToken, "", codes.PermissionDenied, codes.PermissionDenied},
		{"a reader reads", readerToken, "notes", codes.OK, codes.PermissionDenied},
		{"an operator has no space", opsToken, "notes", codes.PermissionDenied, codes.PermissionDenied},
		{"everywhere", allToken, "anything", codes.OK, codes.OK},
		{"everywhere by default", allToken, "", codes.OK, codes.OK},
	}
	for _, c := range cases {
		for name, call := range map[string]func(string, string) error{"Recall": recall, "RecallStream": recallStream, "StreamingRecall": streamingRecall} {
			if err := call(c.token, c.space); codeIn(err) != c.read {
				t.Errorf("%s: %s: %v, want %v", c.name, name, err, c.read)
			}
		}
		for name, call := range map[string]func(string, string) error{"Remember": remember, "StreamingRemember": streamingRemember, "ObserveStream": observe} {
			if err := call(c.token, c.space); codeIn(err) != c.write {
				t.Errorf("%s: %s: %v, want %v", c.name, name, err, c.write)
			}
		}
	}
}

func TestWhatIsNotBoundToASpaceNeedsEveryRight(t *testing.T) {
	e, _ := guarded(t)
	for _, path := range []string{
		"ExecuteQuery", "Introspect", "RebalanceSpaces", "MigrateSpace", "ApplyReplicationBatch",
		"GetReplicationStatus", "Stream", "Levitate",
	} {
		err := e.conn.Invoke(with(e.ctx, notesToken), "/engram.v1.EngramService/"+path, &pb.ForgetRequest{MemorySpaceId: "notes"}, &pb.ForgetResponse{})
		wantStatus(t, err, codes.PermissionDenied, "needs the right *:rw")
		err = e.conn.Invoke(with(e.ctx, allToken), "/engram.v1.EngramService/"+path, &pb.ForgetRequest{}, &pb.ForgetResponse{})
		wantStatus(t, err, codes.Unimplemented)
	}
	// Of what is passed on, each request is judged when it is read, and must name a space: the default is the upstream's.
	holder, _ := e.deps.Tokens.Find(notesToken)
	ctx := context.WithValue(e.ctx, holderKey{}, holder)
	n, err := e.mayCall(ctx, "/engram.v1.EngramService/Forget")
	if err != nil {
		t.Fatal(err)
	}
	for space, code := range map[string]codes.Code{"notes": codes.OK, "logs": codes.PermissionDenied, "": codes.PermissionDenied} {
		for _, request := range []any{frameOf(t, &pb.ForgetRequest{MemorySpaceId: space}), &pb.ForgetRequest{MemorySpaceId: space}} {
			if err := e.mayAsk(ctx, "Forget", n, request); codeIn(err) != code {
				t.Errorf("%T in %q: %v, want %v", request, space, err, code)
			}
		}
	}
	if err := e.mayAsk(ctx, "Forget", n, "what is no request"); codeIn(err) != codes.PermissionDenied {
		t.Errorf("a request whose space cannot be told: %v", err)
	}
}

func frameOf(t *testing.T, m proto.Message) *Frame {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return (*Frame)(&b)
}

// TestTheSpaceCannotBeHidden sends requests whose space two readers could understand differently.
func TestTheSpaceCannotBeHidden(t *testing.T) {
	e, _ := guarded(t)
	whole, err := proto.Marshal(rememberOf("notes", ""))
	if err != nil {
		t.Fatal(err)
	}
	logs := append([]byte{1<<3 | 2, 4}, "logs"...)
	for name, body := range map[string][]byte{
		"the last one counts": append(append([]byte{}, whole...), logs...),
		"a number":            append(append([]byte{}, whole...), 1<<3, 7),
		"cut short":           append(append([]byte{}, whole...), 1<<3|2, 9, 'n'),
	} {
		frame := Frame(body)
		var answer Frame
		err := e.conn.Invoke(with(e.ctx, notesToken), "/engram.v1.EngramService/Remember", &frame, &answer, grpc.ForceCodecV2(newFrameCodec()))
		if code := codeIn(err); code != codes.PermissionDenied && code != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(e.journal.records(wal.KindWrite)); n != 0 {
		t.Errorf("%d records were journaled", n)
	}
}

func TestAnotherSpaceInASession(t *testing.T) {
	e, change := guarded(t)
	stream, err := e.ObserveStream(with(e.ctx, notesToken))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *pb.ObservationRequest) (*pb.ObservationResponse, error) {
		_ = stream.Send(r) // Recv tells
		return stream.Recv()
	}
	first, err := ask(&pb.ObservationRequest{MemorySpaceId: "notes", Operation: &pb.ObservationRequest_Init{Init: &pb.StreamInit{}}})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := observationOf(1, episode(""))
	elsewhere.MemorySpaceId = "logs"
	if r, err := ask(elsewhere); err != nil || !strings.Contains(r.GetStatus().GetMessage(), "no right w") {
		t.Errorf("an observation of another space: %v, %v", r, err)
	}
	if r, err := ask(observationOf(1, episode(""))); err != nil || r.GetAck() == nil {
		t.Errorf("an observation of its own space: %v, %v", r, err)
	}

	other, err := e.ObserveStream(with(e.ctx, readerToken)) // may not write there, and so not take the session over
	if err != nil {
		t.Fatal(err)
	}
	_ = other.Send(&pb.ObservationRequest{SessionId: first.GetSessionId(), Operation: &pb.ObservationRequest_Init{Init: &pb.StreamInit{}}})
	_, err = other.Recv()
	wantStatus(t, err, codes.PermissionDenied)
	if r, err := ask(observationOf(2, episode(""))); err != nil || r.GetAck() == nil {
		t.Errorf("the stream was fenced by one without the right: %v, %v", r, err)
	}

	change("all " + allToken + " *:rw\n") // the token is taken away
	_, err = ask(observationOf(3, episode("")))
	wantStatus(t, err, codes.Unauthenticated, "valid no more")
}

// TestEveryMethodWithRightsNamesItsSpace keeps the table in step with the protocol: memory_space_id is field 1 of each.
func TestEveryMethodWithRightsNamesItsSpace(t *testing.T) {
	methods := pb.File_engram_v1_service_proto.Services().ByName("EngramService").Methods()
	for name := range needs {
		m := methods.ByName(protoreflect.Name(name))
		if m == nil {
			t.Errorf("%s is no method", name)
			continue
		}
		if f := m.Input().Fields().ByNumber(1); f == nil || f.Name() != "memory_space_id" {
			t.Errorf("%s: field 1 is %v", name, f)
		}
	}
	for name := range bySession {
		if methods.ByName(protoreflect.Name(name)) == nil {
			t.Errorf("%s is no method", name)
		}
	}
}

func TestSpaceOf(t *testing.T) {
	for _, space := range []string{"", "notes"} {
		b, err := proto.Marshal(&pb.RecallRequest{MemorySpaceId: space, MaxResults: 3})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := envelope.SpaceOf(b); string(got) != space || err != nil {
			t.Errorf("%q: %q, %v", space, got, err)
		}
	}
}
