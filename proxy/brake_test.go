package proxy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// A client that takes back calls faster than it may is read no faster than that; on other connections nobody notices.
func TestWhoCancelsIsSlowed(t *testing.T) {
	virtual(t, Config{MaxCancelled: 10}, func(t *testing.T, e *edge) {
		other := pb.NewEngramServiceClient(e.dial())
		began := time.Now()
		cancel := func(n int) {
			for range n {
				c := e.begin("", &pb.StreamInit{})
				c.cancel()
				synctest.Wait()
			}
		}
		cancel(20) // two seconds of it are free
		if d, st := time.Since(began), e.Stats(); d != 0 || st.Cancelled != 20 || st.Slowed != 0 {
			t.Errorf("within its credit it was slowed: %v, %+v", d, st)
		}
		cancel(30)
		time.Sleep(time.Second) // the last one's end is read as late as that
		if d, st := time.Since(began), e.Stats(); d < 3500*time.Millisecond || d > 4500*time.Millisecond || st.Cancelled != 50 || st.Slowed == 0 {
			t.Errorf("30 calls more than it may, at 10 a second, took %v with a second of rest: %+v", d, st)
		}
		began = time.Now()
		for range 50 {
			if _, err := other.Remember(e.ctx, rememberOf("", "")); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("another connection waited for %v", d)
		}
		time.Sleep(time.Minute)
		began = time.Now()
		cancel(20)
		if d := time.Since(began); d != 0 {
			t.Errorf("a minute later it was not forgiven: %v", d)
		}
	})
}

// What many connections owe together slows those of them that cancel, and nobody who does so now and then.
func TestManyWhoCancelShare(t *testing.T) {
	virtual(t, Config{MaxCancelled: 100}, func(t *testing.T, e *edge) {
		quiet := e.dial()
		began := time.Now()
		for range 5 { // each within its own credit of 200; their common one is 400
			conn := e.dial()
			for range 150 {
				watchAndLeave(e.ctx, t, conn)
			}
		}
		if d := time.Since(began); d < 500*time.Millisecond || d > 1500*time.Millisecond {
			t.Errorf("750 cancelled calls took %v, at 400 a second behind a credit of 400", d)
		}
		began = time.Now()
		watchAndLeave(e.ctx, t, quiet)
		watchAndLeave(e.ctx, t, quiet)
		if d := time.Since(began); d != 0 {
			t.Errorf("a connection that cancels two calls waited for %v", d)
		}
	})
}

// watchAndLeave begins a call, waits for its first answer, and cancels it.
func watchAndLeave(ctx context.Context, t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// takeBack begins a call, sends nothing, and cancels it once the sidecar has it.
func takeBack(ctx context.Context, t *testing.T, conn *grpc.ClientConn, method string) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	if _, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	cancel()
	synctest.Wait()
}

// Calls that end by themselves are never counted, whatever their status; of those that are taken back none is missed.
func TestOnlyCancelledCallsCount(t *testing.T) {
	virtual(t, Config{MaxCancelled: 1}, func(t *testing.T, e *edge) {
		began := time.Now()
		for range 100 {
			if _, err := e.Remember(e.ctx, rememberOf("", "")); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Remember(e.ctx, &pb.RememberRequest{}); err == nil {
				t.Fatal("an empty request was taken")
			}
			c := e.begin("", &pb.StreamInit{})
			c.close(false, 0)
			c.status(0, pb.StreamStatus_STATE_CLOSED)
			c.end(0)
		}
		lost := e.dial()
		if _, err := lost.NewStream(e.ctx, &grpc.StreamDesc{ClientStreams: true}, pb.EngramService_ObserveStream_FullMethodName); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = lost.Close()
		synctest.Wait()
		if d, st := time.Since(began), e.Stats(); st.Cancelled != 0 || st.Slowed != 0 || d != 0 {
			t.Errorf("calls that were not taken back count: %+v after %v", st, d)
		}
		conn := e.dial()
		methods := []string{
			pb.EngramService_Remember_FullMethodName, pb.EngramService_Recall_FullMethodName, pb.EngramService_MemoryFlow_FullMethodName,
			grpc_health_v1.Health_Check_FullMethodName, grpc_health_v1.Health_Watch_FullMethodName,
		}
		for _, method := range methods {
			takeBack(e.ctx, t, conn, method)
			time.Sleep(time.Minute)
		}
		if st := e.Stats(); st.Cancelled != uint64(len(methods)) {
			t.Errorf("%d calls were taken back, counted: %+v", len(methods), st)
		}
	})
}

// Streams whose messages bring nothing durable wait for their turns; one whose observations are taken does not.
func TestWhatBringsNothingIsPaced(t *testing.T) {
	virtual(t, Config{MaxBarren: 160}, func(t *testing.T, e *edge) {
		gaps := func(c *client, n int) time.Duration {
			began := time.Now()
			for range n {
				c.observe(1000)
				c.status(1000, pb.StreamStatus_STATE_ERROR, "expected")
			}
			return time.Since(began)
		}
		bad, good := e.begin("", &pb.StreamInit{}), e.begin("", &pb.StreamInit{})
		if d, st := gaps(bad, 80), e.Stats(); d != 0 || st.Paced != 0 {
			t.Errorf("80 gaps, half a second's worth, took %v: %+v", d, st)
		}
		if d, st := gaps(bad, 160), e.Stats(); d < 800*time.Millisecond || d > 1200*time.Millisecond || st.Paced < 9 {
			t.Errorf("160 more, at 160 a second, took %v: %+v", d, st)
		}
		began := time.Now()
		for n := uint64(1); n <= 300; n++ { // a refusal now and then is no matter
			if n%10 == 0 {
				good.observe(n + 7)
				good.status(n+7, pb.StreamStatus_STATE_ERROR, "expected")
			}
			good.observe(n)
			good.acks(n)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("a stream that is well-behaved waited for %v", d)
		}
		held := e.begin("", &pb.StreamInit{})
		flow, err := e.MemoryFlow(e.ctx)
		if err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		for range 160 {
			if err := flow.Send(&pb.MemoryFlowRequest{}); err != nil {
				t.Fatal(err)
			}
			if _, err := flow.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < 500*time.Millisecond {
			t.Errorf("160 refusals of a MemoryFlow took %v", d)
		}
		gaps(held, 15)
		held.cancel() // a stream that waits for its turn can leave
	})
}
