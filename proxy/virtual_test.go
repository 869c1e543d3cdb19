package proxy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// virtual runs a test on a clock that jumps to whatever is due next as soon as everyone waits. The whole of gRPC is in there.
func virtual(t *testing.T, cfg Config, run func(t *testing.T, e *edge)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, cfg)
		var cancel context.CancelFunc
		e.ctx, cancel = context.WithCancel(t.Context()) // the other deadline would come at once
		t.Cleanup(cancel)
		run(t, e)
	})
}

func TestDisconnectCleansUpAfterFiveMinutes(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, e *edge) {
		c, kept := e.begin("", &pb.StreamInit{}), e.begin("", &pb.StreamInit{})
		c.observe(1)
		c.acks(1)
		c.cancel()
		synctest.Wait()
		time.Sleep(session.DefaultTimeout - time.Second)
		if st := e.Stats(); st.Sessions != 2 || st.Streams != 1 || st.Expired != 0 {
			t.Errorf("a second before its time: %+v", st)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := e.Stats(); st.Sessions != 1 || st.Expired != 1 {
			t.Errorf("a second after its time: %+v", st)
		}
		if n := len(e.journal.records(wal.KindSessionExpired)); n != 1 {
			t.Errorf("%d expiries are durable, want 1", n)
		}
		again := e.connect()
		again.send(initOf(c.id))
		again.end(codes.NotFound, "no stream for 5m0s")
		kept.observe(1) // a connected session never times out
		kept.acks(1)
	})
}

// A session that was closed is known as closed for one timeout, and then not at all.
func TestClosedSessionIsForgottenOneTimeoutLater(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, e *edge) {
		c := e.begin("", &pb.StreamInit{})
		c.close(false, 0)
		c.status(0, pb.StreamStatus_STATE_CLOSED)
		c.end(codes.OK)
		resumed := func(code codes.Code, text string) {
			t.Helper()
			again := e.connect()
			again.send(initOf(c.id))
			again.end(code, text, "empty session_id")
		}
		time.Sleep(session.DefaultTimeout - time.Second)
		resumed(codes.FailedPrecondition, "was closed by its client")
		time.Sleep(2 * time.Second)
		resumed(codes.NotFound, "is not known")
	})
}

// The session of a MemoryFlow is forgotten as any other: one timeout after its last stream, and never before that ends.
func TestFlowSessionIsForgottenOneTimeoutAfterItsStream(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, e *edge) {
		f := e.flow()
		f.remember(1, rememberOf("", "thing"))
		f.remembered(1, "thing")
		time.Sleep(2 * session.DefaultTimeout)
		f.remember(2, rememberOf("", "other"))
		f.remembered(2, "other")
		if err := f.stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		f.end(codes.OK)
		time.Sleep(session.DefaultTimeout - time.Second)
		if st := e.Stats(); st.Sessions != 1 || st.Expired != 0 {
			t.Errorf("a second before its time: %+v", st)
		}
		time.Sleep(2 * time.Second)
		if st := e.Stats(); st.Sessions != 0 || st.Expired != 1 {
			t.Errorf("a second after its time: %+v", st)
		}
		again := e.flow()
		again.send(&pb.MemoryFlowRequest{SessionId: f.id, SequenceNumber: 1})
		again.end(codes.NotFound, "no stream for 5m0s")
	})
}

// The pressure may change as often as it likes: a client is warned at once, and then at most ten times a second.
func TestWarningsComeAtMostTenTimesASecond(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, e *edge) {
		c := e.begin("", &pb.StreamInit{EnableBackpressure: true})
		synctest.Wait()
		began := time.Now()
		go func() {
			for i := range 300 { // three seconds of it
				e.pressure(0.80 + float64(i%19)/100)
				time.Sleep(10 * time.Millisecond)
			}
			e.pressure(0.51) // below the warnings, and not yet well
			time.Sleep(time.Second)
			e.pressure(0.49)
		}()
		warnings := 0
		var last time.Time
		for {
			st := c.recv().GetStatus()
			now := time.Now()
			if st.GetState() == pb.StreamStatus_STATE_ACTIVE {
				break
			}
			if st.GetState() != pb.StreamStatus_STATE_BACKPRESSURE || st.GetPressure() < 0.8 {
				t.Fatalf("got %v", st)
			}
			if warnings == 0 && now.Sub(began) > gaugeEvery {
				t.Errorf("the first warning comes after %v", now.Sub(began))
			}
			if warnings > 0 && now.Sub(last) < 100*time.Millisecond {
				t.Errorf("a warning comes %v after the one before it", now.Sub(last))
			}
			warnings, last = warnings+1, now
		}
		if warnings < 10 || warnings > 31 {
			t.Errorf("%d warnings in three seconds, want at most ten a second, and about as many", warnings)
		}
		if d := time.Since(began); d < 4*time.Second {
			t.Errorf("all was said to be well after %v, at a pressure of 0.51", d)
		}
	})
}

func TestDrainTellsWhatIsLeftEachSecond(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, e *edge) {
		c := e.begin("", &pb.StreamInit{})
		c.observe(1, 2, 3, 4)
		c.acks(1, 2, 3, 4)
		began := time.Now()
		c.close(true, 4)
		go func() {
			for seq := uint64(1); seq <= 4; seq++ {
				time.Sleep(1400 * time.Millisecond)
				e.deliver(c.id, wal.Delivered, seq)
			}
		}()
		for second, left := range []string{"4", "3", "2", "2", "1"} {
			c.status(0, pb.StreamStatus_STATE_ACTIVE, "closing: "+left+" accepted observations are left")
			if d := time.Since(began); d != time.Duration(second+1)*time.Second {
				t.Errorf("status %d comes after %v", second+1, d)
			}
		}
		c.status(0, pb.StreamStatus_STATE_CLOSED)
		if d := time.Since(began) - 5600*time.Millisecond; d < 0 || d > 2*drainLook {
			t.Errorf("closed %v after the last one was delivered", d)
		}
		c.end(codes.OK)

		again := e.begin("", &pb.StreamInit{})
		again.observe(1)
		again.acks(1)
		began = time.Now()
		again.close(false, 1) // and this one waits for nothing
		again.status(0, pb.StreamStatus_STATE_CLOSED)
		again.end(codes.OK)
		if d := time.Since(began); d != 0 {
			t.Errorf("an immediate close took %v", d)
		}
	})
}

// A session of an earlier run has its whole timeout before it, and once more when its client was back.
func TestARestoredSessionHasItsWholeTimeout(t *testing.T) {
	id := wal.SessionID{1}
	synctest.Test(t, func(t *testing.T) {
		left := session.Snapshot{ID: id, Space: "default", Lane: uint8(wal.LaneNormal), Last: 7}
		e := newEdge(t, Config{}, left)
		e.ctx = t.Context()
		time.Sleep(session.DefaultTimeout - 2*time.Second)
		c := e.begin(id.String(), &pb.StreamInit{})
		if c.first != 7 {
			t.Errorf("resumed after %d, want 7", c.first)
		}
		c.cancel()
		time.Sleep(session.DefaultTimeout + 2*time.Second)
		again := e.connect()
		again.send(initOf(c.id))
		again.end(codes.NotFound, "no stream for 5m0s")
	})
}

// A client that has room for two messages it did not ask for is not owed a third, however often there is something to tell.
func TestClientBufferSizeBoundsWhatIsVolunteered(t *testing.T) {
	for size, want := range map[uint32]int{2: 2, 5: 5} {
		virtual(t, Config{}, func(t *testing.T, e *edge) {
			c := e.begin("", &pb.StreamInit{EnableBackpressure: true, ClientBufferSize: size})
			e.journal.hold()
			c.observe(1) // everything waits behind its ack
			e.journal.awaitFilling(1)
			for i := range 20 {
				e.pressure(0.80 + float64(i%10)/100)
				time.Sleep(2 * gaugeEvery)
			}
			c.close(false, 1)
			synctest.Wait()
			e.journal.release()
			c.acks(1)
			got := 0
			for c.recv().GetStatus().GetState() == pb.StreamStatus_STATE_BACKPRESSURE {
				got++
			}
			if got != want {
				t.Errorf("%d statuses waited for a client with room for %d", got, want)
			}
		})
	}
}
