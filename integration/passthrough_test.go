package integration

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	t.Cleanup(cancel)
	return ctx
}

// TestEngramsOwnMethodsPassThrough: what the sidecar does not serve, the Engram server behind it does.
func TestEngramsOwnMethodsPassThrough(t *testing.T) {
	f := newForwarding(t)
	client := engramv1.NewEngramServiceClient(f.sidecar.Connect())
	ctx := metadata.AppendToOutgoingContext(bounded(t), "trace", "x1", "authorization", "Bearer for-the-sidecar")

	var header, trailer metadata.MD
	answer, err := client.Forget(ctx, &engramv1.ForgetRequest{Target: &engramv1.ForgetRequest_MemoryId{MemoryId: "m"}},
		grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil || answer.GetMemoriesAffected() != 1 {
		t.Errorf("Forget: %v, %v", answer, err)
	}
	if got := header.Get("engram-node"); len(got) != 1 {
		t.Errorf("headers %v, expected the server's own", header)
	}
	if got := trailer.Get("engram-trace"); len(got) != 1 || got[0] != "[x1]" {
		t.Errorf("trailers %v, expected the server's own", trailer)
	}
	if got := f.store.Met()[0].Get("authorization"); len(got) != 0 {
		t.Errorf("the client's token for the sidecar reached the server: %v", got)
	}
	_, err = client.Forget(ctx, &engramv1.ForgetRequest{})
	if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "target: expected a memory_id" {
		t.Errorf("Forget of nothing: %v, expected the server's own words", err)
	}

	dream, err := client.Dream(ctx, &engramv1.DreamRequest{ReplayCycles: 100})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		if _, err := dream.Recv(); errors.Is(err, io.EOF) && n == 100 {
			break
		} else if err != nil {
			t.Fatalf("after %d insights of 100: %v", n, err)
		}
	}

	err = f.sidecar.Connect().Invoke(ctx, "/engram.v1.EngramService/Levitate", &engramv1.ForgetRequest{}, &engramv1.ForgetResponse{})
	if status.Code(err) != codes.Unimplemented || status.Convert(err).Message() != "method Levitate not implemented" &&
		status.Convert(err).Message() != "unknown method Levitate for service engram.v1.EngramService" {
		t.Errorf("a method nobody knows: %v, expected the server's own refusal", err)
	}
}

// TestAnotherStoreSaysWhichCan: the embedded store has no methods of its own, and says who has.
func TestAnotherStoreSaysWhichCan(t *testing.T) {
	client := engramv1.NewEngramServiceClient(serving(t).Connect())
	_, err := client.Forget(bounded(t), &engramv1.ForgetRequest{})
	const says = "/engram.v1.EngramService/Forget is not served over the embedded store: it is a method of the Engram " +
		"server's own, served where the sidecar's store is one (--store engram://host:port)"
	if status.Code(err) != codes.Unimplemented || status.Convert(err).Message() != says {
		t.Errorf("%v, expected %q", err, says)
	}
}

// TestOutageLeavesHealthAlone: a sidecar whose store is away is ready and says so, in HTTP, by gRPC and to those who watch.
// Only a stop changes that.
func TestOutageLeavesHealthAlone(t *testing.T) {
	f := newForwarding(t)
	conn := f.sidecar.Connect()
	ctx := bounded(t)
	watch, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: "engram.v1.EngramService"})
	if err != nil {
		t.Fatal(err)
	}
	told := func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if res, err := watch.Recv(); err != nil || res.GetStatus() != want {
			t.Fatalf("watch: %v, %v; expected %v", res, err, want)
		}
	}
	told(grpc_health_v1.HealthCheckResponse_SERVING)
	f.store.Stop()
	f.observe(50)
	f.sidecar.Await("the outage to be noticed", func() (bool, error) {
		st, err := f.sidecar.Status()
		return err == nil && !st.Store.Up, err
	})
	for _, service := range []string{"", "engram.v1.EngramService"} {
		res, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q in an outage: %v, %v; expected SERVING", service, res, err)
		}
	}
	for _, path := range []string{"/readyz", "/livez"} {
		if answer, err := f.sidecar.Get(path); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s in an outage: %v, %v; expected 200", path, answer, err)
		}
	}
	_, err = engramv1.NewEngramServiceClient(conn).Forget(ctx, &engramv1.ForgetRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("passed through in an outage: %v, expected UNAVAILABLE", err)
	}
	f.store.Start()
	f.delivered(50, 0)
	if code := f.sidecar.Stop(); code != 0 {
		t.Errorf("the stop ended with %d", code)
	}
	told(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("watch after the stop: %v, expected UNAVAILABLE", err)
	}
}
