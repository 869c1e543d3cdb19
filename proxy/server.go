package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // taken from clients that send it, and sent to them
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/buffers"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
)

// Server is the edge of one data directory. Run serves it, once.
type Server struct {
	cfg      Config
	deps     Deps
	log      hclog.Logger
	observer Observer
	sessions *session.Manager
	gauge    *gauge
	news     *News
	grpc     *grpc.Server
	health   *health.Server

	stopping chan struct{}  // closed when Run has been told to stop
	streams  sync.WaitGroup // the receivers and senders of all streams
	scans    chan struct{}  // cap maxScans: the recalls that look through the pending records

	retries   retries
	quotas    quotas
	unlimited atomic.Bool // the lane of writes without a session was seen to have no limit of its own

	streamCount atomic.Int64
	connections atomic.Int64
	panics      atomic.Uint64
	expired     atomic.Uint64
	denied      atomic.Int64 // Unix second in which a denial was logged last

	began      time.Time
	debt       debt // of calls taken back on all connections
	cancelled  atomic.Uint64
	slowed     atomic.Uint64
	barren     debt // of messages that brought nothing durable
	paced      atomic.Uint64
	slowedSaid atomic.Int64 // when a slowed connection was logged last, in nanoseconds since began

	limits   atomic.Pointer[Limits] // nil: those of cfg
	draining atomic.Bool
}

// Stats is a reading of the edge.
type Stats struct {
	Sessions    int    // open, connected or resumable
	Streams     int    // observation streams connected now
	Connections int    // of clients
	Expired     uint64 // sessions forgotten since the start, closed ones included
	Panics      uint64 // calls that failed inside the sidecar since the start
	Cancelled   uint64 // calls that their clients have taken back since the start
	Paced       uint64 // times that a stream was not read for a while, since its messages bring nothing durable
	Slowed      uint64 // times that a connection was not read for a while, since its client took back too many
}

// New makes a server with the sessions that recovery has found. Nothing is served before Run.
func New(cfg Config, deps Deps) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.Validate(), deps.validate()); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, deps: deps, log: deps.Logger, observer: deps.Observer, news: deps.News, sessions: session.New(cfg.Session),
		gauge:    &gauge{journal: deps.Journal, lanes: deps.Lanes},
		health:   health.NewServer(),
		began:    time.Now(),
		stopping: make(chan struct{}),
		scans:    make(chan struct{}, maxScans),
	}
	if s.news == nil {
		s.news = NewNews()
	}
	if s.log == nil {
		s.log = hclog.NewNullLogger()
	}
	if s.observer == nil {
		s.observer = nobody{}
	}
	s.sessions.Restore(deps.Restored)
	s.quotas.set(cfg.Quota, cfg.MaxMessageBytes)
	s.grpc = grpc.NewServer(s.options()...)
	s.grpc.RegisterService(s.counting(s.service()), s)
	s.grpc.RegisterService(s.counting(&grpc_health_v1.Health_ServiceDesc), s.health)
	s.health.SetServingStatus(pb.EngramService_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	reflection.Register(s.grpc)
	return s, nil
}

// streamWindow is how many bytes a client may send on a stream before they are read. A stream alone on its connection waits
// for it to open again: with 64 KiB, gRPC's own, one of window 256 did half of what a durable echo does, with 160 KiB three
// quarters, with 192 six sevenths. More would cost more than 256 KiB for a client that does not read, see docs/design.md.
const streamWindow = 192 << 10

// options bound what a client can do to us; gRPC's own defaults do not.
func (s *Server) options() []grpc.ServerOption {
	return append(s.admission(), []grpc.ServerOption{
		grpc.ForceServerCodecV2(newFrameCodec()),
		experimental.BufferPool(new(buffers.Pool)),
		grpc.MaxRecvMsgSize(s.cfg.MaxMessageBytes),
		// Fixed, or else gRPC lets the window of a busy stream grow to megabytes, which are held when the stream is not read.
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(1 << 20),
		grpc.MaxConcurrentStreams(uint32(s.cfg.MaxStreams)), //nolint:gosec // Validate bounds it
		grpc.MaxHeaderListSize(8 << 10),
		grpc.ConnectionTimeout(5 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: 15 * time.Minute, // without any call; an idle stream is one
			Time:              30 * time.Second,
			Timeout:           10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(s.catchUnary, s.authorizeUnary),
		grpc.ChainStreamInterceptor(s.countStream, s.catchStream, s.authorizeStream, s.endWatch),
		grpc.UnknownServiceHandler(s.unserved),
	}...)
}

// Run serves the listeners, which it closes, until ctx ends or one of them fails. A stop tells each stream to come back
// later, once the answers it is owed are sent; what has not ended within the grace is cut off. When Run returns nothing of
// the edge is left running.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var own sync.WaitGroup
	own.Go(func() { s.gauge.run(background) })
	own.Go(func() { s.expire(background) })

	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		own.Go(func() { failed <- s.grpc.Serve(s.limit(l)) }) // ends when the gRPC server is stopped
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serve gRPC: %w", err)
	}
	s.stop()
	cancel()
	own.Wait()
	return err
}

// stop ends all calls, and waits for them.
func (s *Server) stop() {
	s.health.Shutdown()
	close(s.stopping)
	var graceful sync.WaitGroup
	ended := make(chan struct{})
	graceful.Go(func() {
		s.grpc.GracefulStop()
		close(ended)
	})
	grace := time.NewTimer(s.cfg.Grace)
	defer grace.Stop()
	select {
	case <-ended:
	case <-grace.C:
		s.log.Warn("calls were cut off: they did not end within the grace", "grace", s.cfg.Grace)
		s.grpc.Stop()
	}
	graceful.Wait()
	s.streams.Wait()
}

// Sessions lists the sessions that are known, in no order.
func (s *Server) Sessions() []session.Info { return s.sessions.List() }

// Stats returns a reading of the edge.
func (s *Server) Stats() Stats {
	return Stats{
		Sessions: s.sessions.Count(), Streams: int(s.streamCount.Load()), Connections: int(s.connections.Load()),
		Expired: s.expired.Load(), Panics: s.panics.Load(),
		Cancelled: s.cancelled.Load(), Slowed: s.slowed.Load(), Paced: s.paced.Load(),
	}
}
