package proxy

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/test/bufconn"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestStopSendsWhatIsOwedFirst(t *testing.T) {
	e := newEdge(t, Config{})
	c, idle, mute := e.begin("", &pb.StreamInit{}), e.begin("", &pb.StreamInit{}), e.connect()
	writer, err := e.StreamingRemember(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	asker, err := e.StreamingRecall(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	e.journal.hold()
	c.observe(1, 2, 3)
	if err := writer.Send(rememberOf("", "thing")); err != nil {
		t.Fatal(err)
	}
	e.journal.awaitFilling(4)
	e.stop()
	idle.end(codes.Unavailable, "the sidecar is stopping", "resume")
	mute.end(codes.Unavailable, "the sidecar is stopping")
	_, err = asker.Recv()
	wantStatus(t, err, codes.Unavailable, "the sidecar is stopping: call again")
	e.journal.release()
	c.acks(1, 2, 3)
	c.end(codes.Unavailable, "the sidecar is stopping", "resume")
	if res, err := writer.Recv(); err != nil || res.GetMemoryId() != "thing" {
		t.Errorf("%v, %v", res, err)
	}
	_, err = writer.Recv()
	wantStatus(t, err, codes.Unavailable, "the sidecar is stopping: call again")
	<-e.ended
	if st := e.Stats(); st.Streams != 0 || st.Connections != 0 || st.Sessions != 2 {
		t.Errorf("left behind: %+v", st)
	}
}

func TestStopCutsOffWhoDoesNotRead(t *testing.T) {
	e := newEdge(t, Config{Grace: 200 * time.Millisecond, AnswerBytes: 4 << 10})
	c := e.begin("", &pb.StreamInit{})
	go func() {
		for seq := uint64(1); ; seq++ {
			if c.stream.Send(observationOf(seq, episode(""))) != nil {
				return
			}
		}
	}()
	await(t, "the receiver to stop reading", e.stalled())
	e.stop()
	select {
	case <-e.ended:
	case <-e.ctx.Done():
		t.Fatal("the stop waited for the client")
	}
	if c.info(e).Connected {
		t.Error("the session was not given up")
	}
}

func TestPanicsEndOneCall(t *testing.T) {
	e := newEdge(t, Config{})
	bystander := e.begin("", &pb.StreamInit{})
	c := e.begin("", &pb.StreamInit{})
	drains := e.begin("", &pb.StreamInit{})
	e.journal.set(func() { e.journal.panics = true })
	c.observe(1)
	c.end(codes.Internal, "ObserveStream failed inside the sidecar")
	_, err := e.Remember(e.ctx, rememberOf("", ""))
	wantStatus(t, err, codes.Internal, "/engram.v1.EngramService/Remember failed inside the sidecar")
	e.journal.set(func() { e.journal.panics = false })

	e.ledger.set(func() { e.ledger.counted = func() { panic("the ledger") } }) // in the supervisor of a stream that drains
	drains.close(true, 0)
	drains.end(codes.Internal, "ObserveStream failed inside the sidecar")
	e.ledger.set(func() { e.ledger.counted = nil })

	e.store.set(func(store.Query) (store.Answer, error) { panic("the store") })
	stream, err := e.RecallStream(e.ctx, &pb.StreamingRecallRequest{Cue: cueOf(vector(1))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantStatus(t, err, codes.Internal)
	if n := e.Stats().Panics; n != 4 {
		t.Errorf("%d panics counted, want 4", n)
	}
	bystander.observe(1)
	bystander.acks(1)
	again := e.begin(c.id, &pb.StreamInit{}) // the session was given up
	again.observe(1)
	again.acks(1)
	await(t, "the sessions of the streams that failed to be given up", func() bool { return !drains.info(e).Connected })
}

func TestUnservedMethodsAreNamed(t *testing.T) {
	e := newEdge(t, Config{})
	_, err := e.Forget(e.ctx, &pb.ForgetRequest{})
	wantStatus(t, err, codes.Unimplemented, "/engram.v1.EngramService/Forget", "over the fake store", "engram://")
	err = e.conn.Invoke(e.ctx, "/engram.v1.EngramService/Levitate", &pb.ForgetRequest{}, &pb.ForgetResponse{})
	wantStatus(t, err, codes.Unimplemented, "/engram.v1.EngramService/Levitate")
	stream, err := e.Dream(e.ctx, &pb.DreamRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantStatus(t, err, codes.Unimplemented, "/engram.v1.EngramService/Dream")
}

// TestStopTellsHealthWatchers would wait for its whole grace, and with it for ever, if a watch held the stop up.
func TestStopTellsHealthWatchers(t *testing.T) {
	e := newEdge(t, Config{Grace: time.Hour})
	var watches []grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse]
	for service, first := range map[string]grpc_health_v1.HealthCheckResponse_ServingStatus{
		"": grpc_health_v1.HealthCheckResponse_SERVING, "engram.v1.EngramService": grpc_health_v1.HealthCheckResponse_SERVING,
		"nobody": grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN,
	} {
		watch, err := grpc_health_v1.NewHealthClient(e.conn).Watch(e.ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		if res, err := watch.Recv(); err != nil || res.GetStatus() != first {
			t.Errorf("watch of %q: %v, %v; want %v", service, res, err, first)
		}
		if service != "nobody" {
			watches = append(watches, watch)
		}
	}
	e.stop()
	for _, watch := range watches {
		if res, err := watch.Recv(); err != nil || res.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
			t.Errorf("at the stop: %v, %v; want NOT_SERVING", res, err)
		}
		_, err := watch.Recv()
		wantStatus(t, err, codes.Unavailable, "the sidecar is stopping")
	}
	select {
	case <-e.ended:
	case <-e.ctx.Done():
		t.Error("the stop waited for a health watch")
	}
}

func TestHealthAndReflection(t *testing.T) {
	e := newEdge(t, Config{})
	for _, service := range []string{"", "engram.v1.EngramService"} {
		res, err := grpc_health_v1.NewHealthClient(e.conn).Check(e.ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, res, err)
		}
	}
	_, err := grpc_health_v1.NewHealthClient(e.conn).Check(e.ctx, &grpc_health_v1.HealthCheckRequest{Service: "nobody"})
	wantStatus(t, err, codes.NotFound)
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	stream, err := grpc_reflection_v1.NewServerReflectionClient(e.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *grpc_reflection_v1.ServerReflectionRequest) *grpc_reflection_v1.ServerReflectionResponse {
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	names := ask(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
	if got := names.String(); !strings.Contains(got, "engram.v1.EngramService") {
		t.Errorf("services are %s", got)
	}
	file := ask(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{
		FileContainingSymbol: "engram.v1.EngramService.ObserveStream",
	}})
	if len(file.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("the service is not described: %v", file)
	}
}

func TestMessageLimit(t *testing.T) {
	e := newEdge(t, Config{})
	for name, opts := range map[string][]grpc.CallOption{"plain": nil, "compressed": {grpc.UseCompressor("gzip")}} {
		t.Run(name, func(t *testing.T) {
			huge := rememberOf("", "")
			huge.GetMemory().Content = strings.Repeat("x", 1<<20) // a kilobyte or two, compressed
			_, err := e.Remember(e.ctx, huge, opts...)
			wantStatus(t, err, codes.ResourceExhausted, "larger than max", "1048576")
			c := e.begin("", &pb.StreamInit{})
			large := episode("")
			large.What = huge.GetMemory().GetContent()
			c.send(observationOf(1, large))
			c.end(codes.ResourceExhausted)
			await(t, "the refusal to be counted", func() bool { return e.counts.of(ReasonTooLarge) > 0 })
		})
	}
}

func TestGzipIsTakenAndSent(t *testing.T) {
	e := newEdge(t, Config{})
	for _, encoding := range []string{"gzip", ""} {
		var seen wireWatch
		conn := e.dial(grpc.WithStatsHandler(&seen), grpc.WithDefaultCallOptions(grpc.UseCompressor(encoding)))
		client := &edge{t: t, ctx: e.ctx, EngramServiceClient: pb.NewEngramServiceClient(conn)}
		c := client.begin("", &pb.StreamInit{})
		c.observe(1, 2)
		c.acks(1, 2)
		if got, _ := seen.compression.Load().(string); got == "gzip" {
			t.Errorf("the acks of a client that sends %q are zipped: gRPC then holds more of them than transit knows of", encoding)
		}
		if _, err := client.Remember(e.ctx, rememberOf("", "")); err != nil {
			t.Fatal(err)
		}
		if got, _ := seen.compression.Load().(string); got != encoding {
			t.Errorf("a client that sends %q is answered with %q", encoding, got)
		}
	}
}

// wireWatch sees how a server compresses its answers.
type wireWatch struct{ compression atomic.Value }

func (w *wireWatch) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (w *wireWatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (w *wireWatch) HandleConn(context.Context, stats.ConnStats) {}

func (w *wireWatch) HandleRPC(_ context.Context, s stats.RPCStats) {
	if header, ok := s.(*stats.InHeader); ok {
		w.compression.Store(header.Compression)
	}
}

func TestConnectionLimit(t *testing.T) {
	said := make(chan string, 10)
	e := newEdgeWith(t, Config{MaxConnections: 1}, func(d *Deps) {
		d.Logger = hclog.New(&hclog.LoggerOptions{Output: lines(said)})
	})
	e.begin("", &pb.StreamInit{})
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	_, err := pb.NewEngramServiceClient(e.dial()).Remember(ctx, rememberOf("", ""))
	wantStatus(t, err, codes.Unavailable)
	if line := <-said; !strings.Contains(line, "a connection was refused: max-connections=1") {
		t.Errorf("the log says %q", line)
	}
	if err := e.conn.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "the connection's place", func() bool { return e.Stats().Connections == 0 })
	if _, err := pb.NewEngramServiceClient(e.dial()).Remember(ctx, rememberOf("", "")); err != nil {
		t.Errorf("after the first one left: %v", err)
	}
}

// lines gets what is logged, and lets go of what nobody waits for.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

func TestHeaderLimit(t *testing.T) {
	e := newEdge(t, Config{})
	if _, err := e.Remember(e.ctx, rememberOf("", "")); err != nil { // the server's settings have come
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(e.ctx, "note", strings.Repeat("x", 9<<10))
	_, err := e.Remember(ctx, rememberOf("", ""))
	wantStatus(t, err, codes.Internal, "header list size")
}

func TestStreamLimitOfAConnection(t *testing.T) {
	e := newEdge(t, Config{MaxStreams: 2})
	first := e.begin("", &pb.StreamInit{})
	e.begin("", &pb.StreamInit{})
	opened := make(chan error, 1)
	go func() {
		_, err := e.Remember(e.ctx, rememberOf("", "")) // waits at the client until a place is free
		opened <- err
	}()
	if err := first.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	first.end(codes.OK)
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	j := newFakeJournal(t)
	l := newFakeLedger(j)
	deps := Deps{Journal: j, Store: &fakeStore{}, Pending: l, Settlement: l, Lanes: l}
	for want, cfg := range map[string]Config{
		"default-space: memory_space_id: expected 3 to 64":          {DefaultSpace: "?"},
		"session-timeout: expected a duration above 0, got -1s":     {Session: session.Config{Timeout: -time.Second}},
		"max-message-bytes: expected 8192 to 16777216, got 1":       {MaxMessageBytes: 1},
		"max-episode-bytes: expected 4096 to 1048576, got 2000000":  {MaxEpisodeBytes: 2_000_000},
		"max-streams-per-connection: expected 1 to 1048576, got -1": {MaxStreams: -1},
		"max-connections: expected 1 to 1048576, got -1":            {MaxConnections: -1},
		"answer-buffer-bytes: expected 4096 to 1073741824, got 1":   {AnswerBytes: 1},
		"stream-window-bytes: expected 1 to 1073741824, got -5":     {WindowBytes: -5},
		"grace: expected a duration above 0, got -1ns":              {Grace: -1},
	} {
		if _, err := New(cfg, deps); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := New(Config{}, Deps{}); err == nil || !strings.Contains(err.Error(), "one is nil") {
		t.Errorf("without its rooms: %v", err)
	}
	if _, err := New(Config{}, deps); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestRunEndsWithItsListener(t *testing.T) {
	j := newFakeJournal(t)
	l := newFakeLedger(j)
	s, err := New(Config{}, Deps{Journal: j, Store: &fakeStore{}, Pending: l, Settlement: l, Lanes: l})
	if err != nil {
		t.Fatal(err)
	}
	broken := bufconn.Listen(1)
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), broken, bufconn.Listen(1)); err == nil || !strings.Contains(err.Error(), "serve gRPC") {
		t.Errorf("got %v", err)
	}
}

func TestOverJournal(t *testing.T) {
	if _, ok := OverJournal(&wal.Journal{}).NewProducer().(*wal.Producer); !ok {
		t.Error("the producer is not the journal's own")
	}
}
