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
