package proxy

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Limits are what of the Config can be changed while the server runs. The zero value of each field means its default.
type Limits struct {
	Session         session.Config
	MaxEpisodeBytes int
	MaxConnections  int
	Quota           Quota
}

// SetLimits holds for what comes from now on: who is connected stays, and sessions that are open stay open. The error is that
// of Config.Validate, and nothing has changed then.
func (s *Server) SetLimits(l Limits) error {
	c := s.cfg
	c.Session, c.MaxEpisodeBytes, c.MaxConnections, c.Quota = l.Session, l.MaxEpisodeBytes, l.MaxConnections, l.Quota
	if c = c.withDefaults(); c.Validate() != nil {
		return c.Validate()
	}
	s.limits.Store(&Limits{c.Session, c.MaxEpisodeBytes, c.MaxConnections, c.Quota})
	s.sessions.SetConfig(c.Session)
	s.quotas.set(c.Quota, c.MaxMessageBytes)
	return nil
}

// bounds are what holds now.
func (s *Server) bounds() *Limits {
	if l := s.limits.Load(); l != nil {
		return l
	}
	return &Limits{s.cfg.Session, s.cfg.MaxEpisodeBytes, s.cfg.MaxConnections, s.cfg.Quota}
}

// SetDraining makes the server a lame duck, or a normal one again: new sessions are refused and health says NOT_SERVING, while
// everything that goes on goes on: streams, sessions that are resumed, writes without a session, recalls.
func (s *Server) SetDraining(draining bool) {
	s.draining.Store(draining)
	state := grpc_health_v1.HealthCheckResponse_SERVING
	if draining {
		state = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	s.health.SetServingStatus(pb.EngramService_ServiceDesc.ServiceName, state)
	s.health.SetServingStatus("", state)
}

// Draining says whether new sessions are refused.
func (s *Server) Draining() bool { return s.draining.Load() }

func errDraining() error {
	return status.Error(codes.Unavailable, "the sidecar is draining: it takes no new session; open it at another sidecar, or later")
}

// CloseSession closes a session by an operator's wish, durably, and returns its last sequence. The stream that has it ends. The
// error wraps session.ErrNotFound or session.ErrClosed, or is the journal's.
func (s *Server) CloseSession(ctx context.Context, id session.ID) (last uint64, err error) {
	space, _ := s.sessions.Space(id)
	att, err := s.sessions.Attach(id)
	if err != nil {
		return 0, fmt.Errorf("session %s: %w", wal.SessionID(id), err)
	}
	defer att.Release()
	select {
	case <-att.Ready():
	case <-ctx.Done():
		return 0, fmt.Errorf("session %s: waiting for its stream to end: %w", wal.SessionID(id), context.Cause(ctx))
	}
	last = att.Next() - 1
	if att.State() == session.Closed {
		return last, fmt.Errorf("session %s: %w", wal.SessionID(id), session.ErrClosed)
	}
	r := wal.Record{Kind: wal.KindSessionClosed, Session: id, Space: space, Lane: wal.Lane(att.Lane()), Sequence: last}
	if _, err := s.deps.Journal.Write(context.WithoutCancel(ctx), &r); err != nil {
		return last, fmt.Errorf("session %s: %w", wal.SessionID(id), err)
	}
	att.Close()
	s.log.Info("session closed by an operator", "session", wal.SessionID(id).String(), "after", last)
	return last, nil
}
