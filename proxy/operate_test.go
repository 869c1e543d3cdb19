package proxy

import (
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// TestDrainingTakesNoNewSession: health says so by service and to who watches, and everything that goes on goes on.
func TestDrainingTakesNoNewSession(t *testing.T) {
	e := newEdge(t, Config{})
	running, resumed := e.begin("", &pb.StreamInit{}), e.begin("", &pb.StreamInit{})
	health := grpc_health_v1.NewHealthClient(e.conn)
	services := []string{"", "engram.v1.EngramService"}
	watches := map[string]interface {
		Recv() (*grpc_health_v1.HealthCheckResponse, error)
	}{}
	for _, service := range services {
		watch, err := health.Watch(e.ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		watches[service] = watch
	}
	wantHealth := func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for _, service := range services {
			if res, err := watches[service].Recv(); err != nil || res.GetStatus() != want {
				t.Errorf("watch of %q: %v, %v; want %v", service, res, err, want)
			}
			res, err := health.Check(e.ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
			if err != nil || res.GetStatus() != want {
				t.Errorf("health of %q: %v, %v; want %v", service, res, err, want)
			}
		}
	}
	wantHealth(grpc_health_v1.HealthCheckResponse_SERVING)
	e.SetDraining(true)
	wantHealth(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	refused := e.connect()
	refused.send(initOf(""))
	refused.end(codes.Unavailable, "draining: it takes no new session")
	flow := e.flow()
	flow.remember(1, rememberOf("", "thing"))
	flow.end(codes.Unavailable, "draining: it takes no new session")
	if n := e.counts.of(ReasonUnavailable); n != 2 {
		t.Errorf("%d refusals counted, want 2", n)
	}
	running.observe(1)
	running.acks(1)
	again := e.begin(resumed.id, &pb.StreamInit{})
	again.observe(1)
	again.acks(1)
	if _, err := e.Remember(e.ctx, rememberOf("", "thing")); err != nil {
		t.Error(err)
	}
	e.SetDraining(false)
	wantHealth(grpc_health_v1.HealthCheckResponse_SERVING)
	e.begin("", &pb.StreamInit{})
}

// TestOperatorClosesASessionInUse: as a takeover does, it waits for what is in flight, and the stream that had it ends.
func TestOperatorClosesASessionInUse(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	e.journal.hold()
	c.observe(1, 2)
	e.journal.awaitFilling(2)
	id := session.ID(e.sessionID(c.id))
	var last uint64
	closed := make(chan error, 1)
	go func() {
		var err error
		last, err = e.CloseSession(e.ctx, id)
		closed <- err
	}()
	await(t, "the fence", func() bool { return c.fenced(e) })
	e.journal.release()
	if err := <-closed; err != nil || last != 2 {
		t.Errorf("closed at %d, %v; want 2", last, err)
	}
	if r := e.journal.records(wal.KindSessionClosed); len(r) != 1 || r[0].Sequence != 2 {
		t.Errorf("journaled as %+v", r)
	}
	for { // what was durable may still have been acked
		if _, err := c.stream.Recv(); err != nil {
			wantStatus(t, err, codes.Aborted, "an operator closes it", "must not resume it")
			break
		}
	}
	again := e.connect()
	again.send(initOf(c.id))
	again.end(codes.FailedPrecondition, "was closed by its client or an operator")
	if _, err := e.CloseSession(e.ctx, id); !errors.Is(err, session.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := e.CloseSession(e.ctx, session.ID{1}); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("closed though unknown: %v", err)
	}
}

// TestLimitsChangeWhileItRuns: they hold for what comes from then on, and what cannot work changes nothing.
func TestLimitsChangeWhileItRuns(t *testing.T) {
	e := newEdge(t, Config{})
	first, second := e.begin("", &pb.StreamInit{}), e.begin("", &pb.StreamInit{})
	if err := e.SetLimits(Limits{Session: session.Config{Limit: 1}, MaxConnections: 1, MaxEpisodeBytes: 4 << 10}); err != nil {
		t.Fatal(err)
	}
	if err := e.SetLimits(Limits{MaxEpisodeBytes: 1}); err == nil {
		t.Error("an episode of one byte at most is taken for a limit")
	}
	third := e.connect()
	third.send(initOf(""))
	third.end(codes.ResourceExhausted, "2 are open and max-sessions is 1")
	large := episode("")
	large.What = string(make([]byte, 4<<10))
	first.send(observationOf(1, large))
	first.status(1, pb.StreamStatus_STATE_ERROR, "observation: expected at most 4096 bytes, got ")
	_, err := pb.NewEngramServiceClient(e.dial()).Remember(e.ctx, rememberOf("", ""))
	wantStatus(t, err, codes.Unavailable)
	for _, c := range []*client{first, second} {
		c.observe(1)
		c.acks(1)
	}
	if err := e.SetLimits(Limits{}); err != nil { // the defaults
		t.Fatal(err)
	}
	e.begin("", &pb.StreamInit{})
}
