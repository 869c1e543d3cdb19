package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof" // its init also serves the default mux, which is served nowhere here
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Server answers operators. It is made before recovery and serves through it; the zero value is of no use.
type Server struct {
	http    *http.Server
	status  atomic.Pointer[func() Status]
	waiting atomic.Pointer[string] // why the sidecar is not ready; nil when it is
	valid   Check                  // of tokens; nil where none is asked for
	mux     *http.ServeMux
	letters atomic.Pointer[DeadLetters]
	metrics *Metrics
	feed    feed // what the dashboard is sent

	operator atomic.Pointer[Operator] // nil while recovering
}

// New makes a server that is not ready and whose status is what status returns. The metrics of m are served beside those
// drawn from the status. A nil logger keeps silent.
func New(log hclog.Logger, m *Metrics, status func() Status) *Server {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	s := &Server{metrics: m}
	s.SetStatus(status)
	s.SetNotReady(string(StateRecovering))
	m.registry.MustRegister(collector{s.Status})
	s.http = &http.Server{
		Handler:           guard(s.authenticate(s.routes(m))),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s
}

// SetStatus changes where the status comes from. It may be called at any time.
func (s *Server) SetStatus(status func() Status) { s.status.Store(&status) }

// Status takes the status now.
func (s *Server) Status() Status { return (*s.status.Load())() }

// SetReady makes /readyz answer ok.
func (s *Server) SetReady() { s.waiting.Store(nil) }

// SetNotReady makes /readyz answer 503 with the reason.
func (s *Server) SetNotReady(reason string) { s.waiting.Store(&reason) }

// Serve answers on l until Shutdown, and then returns nil. It closes l. It is called once.
func (s *Server) Serve(l net.Listener) error {
	ctx, cancel := context.WithCancel(context.Background())
	var sampling sync.WaitGroup
	sampling.Go(func() { (&sampler{server: s}).run(ctx) }) // ends with ctx, and ends the dashboard's streams
	defer sampling.Wait()
	defer cancel()
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin: serving on %s: %w", l.Addr(), err)
	}
	return nil
}

// Shutdown finishes the requests under way, or cuts them off when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("admin: requests cut off: %w", err), s.http.Close())
	}
	return nil
}

// The two pages that are there for whoever starts and stops the process.
const (
	pathLive  = "/livez"
	pathReady = "/readyz"
)

// ServeProfiles serves Go's profiles at /debug/pprof/. It comes before Serve. They tell the names of functions and how long
// they take, and what the stacks hold; they are for whoever may see that.
func (s *Server) ServeProfiles() {
	read(s.mux, "/debug/pprof/", pprof.Index)
	read(s.mux, "/debug/pprof/cmdline", pprof.Cmdline)
	read(s.mux, "/debug/pprof/profile", pprof.Profile)
	read(s.mux, "/debug/pprof/symbol", pprof.Symbol)
	read(s.mux, "/debug/pprof/trace", pprof.Trace)
}

func (s *Server) routes(m *Metrics) http.Handler {
	mux := http.NewServeMux()
	s.mux = mux
	read(mux, pathLive, s.live)
	read(mux, pathReady, s.ready)
	read(mux, "/api/status", s.apiStatus)
	read(mux, "/metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry:            m.registry,
		MaxRequestsInFlight: 4,
	}).ServeHTTP)
	s.routeDeadLetters(mux)
	s.routeDashboard(mux)
	s.routeOperator(mux)
	read(mux, "/", unknown)
	return mux
}
