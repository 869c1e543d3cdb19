package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/access"
)

// A client that sends more than it may is held up, with nothing lost and nothing refused, over all its streams together.
func TestAStreamBeyondItsQuotaIsHeldUp(t *testing.T) {
	virtual(t, Config{Quota: Quota{Messages: 10}}, func(t *testing.T, e *edge) {
		one, two := e.begin("", &pb.StreamInit{}), e.begin("", &pb.StreamInit{})
		synctest.Wait()
		began := time.Now()
		const each = 50
		done := make(chan struct{}, 2)
		for _, c := range []*client{one, two} {
			go func() { // ends with its observations
				for _, seq := range upTo(each) {
					c.observe(seq)
				}
				done <- struct{}{}
			}()
		}
		one.acks(upTo(each)...)
		two.acks(upTo(each)...)
		<-done
		<-done
		// The two inits and the first eight go at once: ten were saved up.
		if took, want := time.Since(began), (2*each+2-10)*time.Second/10; took < want-time.Second || took > want+time.Second {
			t.Errorf("%d observations of a client that may send 10 a second took %v, want about %v", 2*each, took, want)
		}
	})
}

func TestAStreamBeyondItsBytesIsHeldUp(t *testing.T) {
	virtual(t, Config{MaxMessageBytes: 8 << 10, MaxEpisodeBytes: 8 << 10, Quota: Quota{Bytes: 8 << 10}}, func(t *testing.T, e *edge) {
		c := e.begin("", &pb.StreamInit{})
		began := time.Now()
		c.observe(upTo(20)...) // of 3.1 KB each
		c.acks(upTo(20)...)
		if took := time.Since(began); took < 6*time.Second || took > 8*time.Second {
			t.Errorf("62 KB of a client that may send 8 KiB a second took %v", took)
		}
	})
}

// Who asked to be told is told that it is to slow down, and when that is over.
func TestWhoIsHeldUpByItsQuotaIsTold(t *testing.T) {
	virtual(t, Config{Quota: Quota{Messages: 1}}, func(t *testing.T, e *edge) {
		c := e.begin("", &pb.StreamInit{EnableBackpressure: true})
		c.observe(1)
		c.status(0, pb.StreamStatus_STATE_BACKPRESSURE, "slow down", "client-observations-per-second", "taken in 1s")
		var acked, eased bool
		for !acked || !eased {
			res := c.recv()
			acked = acked || res.GetAck() != nil && res.GetSequenceNumber() == 1
			eased = eased || res.GetStatus().GetState() == pb.StreamStatus_STATE_ACTIVE
		}
	})
}

// A stop does not wait for a client that is held up.
func TestAStopEndsWhoIsHeldUpByItsQuota(t *testing.T) {
	virtual(t, Config{Quota: Quota{Messages: 1}}, func(t *testing.T, e *edge) {
		c := e.begin("", &pb.StreamInit{})
		c.observe(upTo(10)...) // as many as do not hold up the client itself
		c.acks(1)
		began := time.Now()
		e.stop()
		c.end(codes.Unavailable)
		<-e.ended
		if took := time.Since(began); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

func TestACallBeyondItsQuotaIsRefusedWithTheTimeToComeBack(t *testing.T) {
	virtual(t, Config{Quota: Quota{Messages: 2}}, func(t *testing.T, e *edge) {
		remember := func() error {
			_, err := e.Remember(e.ctx, &pb.RememberRequest{MemoryType: &pb.RememberRequest_Episode{Episode: episode("")}})
			return err
		}
		for range 2 {
			if err := remember(); err != nil {
				t.Fatal(err)
			}
		}
		err := remember()
		wantStatus(t, err, codes.ResourceExhausted, "client-observations-per-second", "retry after 500ms")
		var hint time.Duration
		for _, d := range status.Convert(err).Details() {
			if info, ok := d.(*errdetails.RetryInfo); ok {
				hint = info.GetRetryDelay().AsDuration()
			}
		}
		if hint == 0 || e.counts.of(ReasonOverloaded) != 1 {
			t.Errorf("hint %v, %d counted", hint, e.counts.of(ReasonOverloaded))
		}
		time.Sleep(hint) // what was refused was not counted against it
		if err := remember(); err != nil {
			t.Errorf("at the time that it was told: %v", err)
		}
		if _, err := e.Recall(e.ctx, &pb.RecallRequest{Cue: &pb.Cue{CueType: &pb.Cue_Embedding{Embedding: &pb.EmbeddingCue{Vector: vector(1)}}}}); err != nil {
			t.Errorf("a recall writes nothing: %v", err)
		}
		if err := e.SetLimits(Limits{}); err != nil { // a reload takes the quota away
			t.Fatal(err)
		}
		for range 10 {
			if err := remember(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Each token has a quota of its own.
func TestOneClientDoesNotUseUpAnothersQuota(t *testing.T) {
	e, _ := guarded(t)
	if err := e.SetLimits(Limits{Quota: Quota{Messages: 1}}); err != nil {
		t.Fatal(err)
	}
	remember := func(token string) error {
		_, err := e.Remember(with(e.ctx, token), &pb.RememberRequest{
			MemorySpaceId: "notes", MemoryType: &pb.RememberRequest_Episode{Episode: episode("")},
		})
		return err
	}
	for _, token := range []string{allToken, notesToken} {
		if err := remember(token); err != nil {
			t.Errorf("the first of its own: %v", err)
		}
	}
	refused := 0
	for range 20 { // faster than one a second
		if status.Code(remember(allToken)) == codes.ResourceExhausted {
			refused++
		}
	}
	if refused == 0 {
		t.Error("twenty at once are all within one a second")
	}
}

// from is a call of a client at an address.
func from(addr net.Addr) context.Context {
	return peer.NewContext(context.Background(), &peer.Peer{Addr: addr})
}

func TestClientsAreToldApart(t *testing.T) {
	tcp := func(port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }
	for _, c := range []struct {
		what string
		one  context.Context
		two  context.Context
		same bool
	}{
		{"two users of the socket", from(access.UserAddr(1000)), from(access.UserAddr(1001)), false},
		{"one user, twice", from(access.UserAddr(1000)), from(access.UserAddr(1000)), true},
		{"two ports, of whoever", from(tcp(4000)), from(tcp(4001)), true},
		{"a user and whoever", from(access.UserAddr(0)), from(tcp(4001)), false},
	} {
		q := &quotas{}
		if got := q.account(c.one) == q.account(c.two); got != c.same {
			t.Errorf("%s: the same %v", c.what, got)
		}
	}
}

// Without a quota nothing is looked at, and with one a message costs no memory either.
func TestAQuotaCostsNoMemory(t *testing.T) {
	s := &Server{}
	p := &pipe{s: s, account: s.quotas.account(context.Background())}
	for _, quota := range []Quota{{}, {Messages: maxQuota, Bytes: maxQuota}} {
		s.quotas.set(quota, 1<<20)
		if n := testing.AllocsPerRun(100, func() { p.pace(3 << 10) }); n > 0 {
			t.Errorf("%+v: a message costs %v allocations", quota, n)
		}
	}
	if err := (Config{Quota: Quota{Messages: -1}}).Validate(); err == nil {
		t.Error("a quota below nothing is taken")
	}
}

// The user that the kernel names at the other end of a Unix socket arrives where quotas are kept.
func TestTheUserOfASocketHasAQuota(t *testing.T) {
	e := newEdge(t, Config{Quota: Quota{Messages: 1}})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.grpc.Serve(e.limit(access.OnlyUsers(l, []int{os.Getuid()}, nil))) }() // ends with the server
	conn, err := grpc.NewClient("unix://"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = pb.NewEngramServiceClient(conn).Remember(e.ctx, &pb.RememberRequest{MemoryType: &pb.RememberRequest_Episode{Episode: episode("")}})
	if err := errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
	e.stop()
	<-e.ended
	if err := <-served; err != nil {
		t.Error(err)
	}
	e.quotas.mu.Lock()
	defer e.quotas.mu.Unlock()
	if who := access.UserAddr(os.Getuid()).String(); e.quotas.clients[who] == nil {
		t.Errorf("%q has no quota: %v", who, e.quotas.clients)
	}
}
