package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/actor"
	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/proxy"
	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
	"github.com/engram-sidecar/engram-sidecar/proxy/forward"
	"github.com/engram-sidecar/engram-sidecar/proxy/letters"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/embedded"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/engram"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/postgres"
	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// sidecar is all parts of a running sidecar.
//
//	            ┌────────┐   append    ┌─────────┐
//	app ─gRPC──▶│  edge  │────────────▶│ journal │──fsync──┬──▶ ledger    what is accepted, settled, open
//	            │        │◀────────────│         │         ├──▶ backlog   queue and cache: what waits for the store
//	            └───┬────┘    ack      └────▲────┘         └──▶ edge      acks
//	       recall   │                       │ read back             │
//	                ▼                  ┌────┴─────┐◀────────────────┘ take
//	            ┌───────┐     put      │ forwarder│
//	            │ store │◀─────────────│          │──settle, bury──▶ ledger ──release──▶ journal
//	            └───────┘              └──────────┘
//
//	operator ─HTTP──▶ admin: asks all of them, and is there first and last
//
// They begin in the order in which one needs the other and end in the reverse: the edge first, so that nothing new is
// accepted and every ack owed is sent; then the forwarder, which collects the answers in flight; then the store, the
// ledger's keeper, and the data directory, which writes down what is settled; the admin server last, to tell of it.
type sidecar struct {
	cfg     config.Config
	log     hclog.Logger
	metrics *admin.Metrics
	started time.Time
	guard   guard

	admin   *admin.Server
	http    net.Listener
	grpc    net.Listener
	state   *recovery.State
	backlog *backlog
	store   backend
	turns   letters.Turns // at the store, of the forwarder and of who replays dead letters
	forward *forward.Forwarder
	news    *proxy.News // from the forwarder to the edge: what has become of what was accepted
	edge    *proxy.Server
}

// backend is a store as the sidecar uses it.
type backend interface {
	forward.Store
	proxy.Recaller
	Close() error
}

// assemble makes all parts and begins them. Both addresses are taken before anything is touched on disk; nobody is answered
// on them before it can be, but for the admin server, which says so. With an error the parts begun so far are in the group,
// for the caller to stop.
func assemble(cfg config.Config, log hclog.Logger, parts *actor.Group) (*sidecar, error) {
	s := &sidecar{cfg: cfg, log: log, metrics: admin.NewMetrics(), started: time.Now(), news: proxy.NewNews()}
	var err error
	if s.guard, err = newGuard(cfg); err != nil {
		return nil, err
	}
	for _, step := range []func(*actor.Group) error{beginMemory, s.listen, s.serveAdmin, s.recover, s.openStore, s.beginForwarding, s.beginEdge} {
		if err := step(parts); err != nil {
			return nil, err
		}
	}
	s.admin.SetStatus(s.status)
	return s, nil
}

func (s *sidecar) listen(parts *actor.Group) (err error) {
	if s.http, err = listen("admin-listen", s.cfg.AdminListen, nil, s.log); err != nil {
		return s.runsAlready(err)
	}
	if s.cfg.AdminTLS {
		s.http = tls.NewListener(s.http, s.guard.certificates.ServerForAnyone("http/1.1"))
	}
	parts.Defer("admin listener", func() error { return closeListener(s.http) })
	if s.grpc, err = listen("listen", s.cfg.Listen, s.cfg.ListenUsers, s.log); err != nil {
		return s.runsAlready(err)
	}
	parts.Defer("gRPC listener", func() error { return closeListener(s.grpc) })
	return nil
}

// runsAlready says of a listener that could not be had whether that is because this very sidecar runs already.
func (s *sidecar) runsAlready(err error) error {
	holder, unknown := wal.LockHolder(s.cfg.DataDir)
	if unknown != nil || holder == "" {
		return err
	}
	return fmt.Errorf("%w: %s is held by %s: a sidecar runs already (%w)", wal.ErrLocked, s.cfg.DataDir, holder, err)
}

// closeListener closes a listener that its server may have closed before.
func closeListener(l net.Listener) error {
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *sidecar) serveAdmin(parts *actor.Group) error {
	s.admin = admin.New(s.log.Named("admin"), s.metrics, s.recovering)
	if s.guard.adminTokens != nil {
		s.admin.RequireToken(s.guard.mayAdminister)
	}
	if s.cfg.Pprof {
		s.admin.ServeProfiles()
	}
	parts.Go("admin server", func(ctx context.Context) error {
		served := make(chan error, 1)
		go func() { served <- s.admin.Serve(s.http) }() //nolint:contextcheck // ends at the Shutdown below
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return errors.Join(s.admin.Shutdown(last), <-served)
	})
	return nil
}

// recover makes the data directory consistent, and fills the queue with what is pending.
func (s *sidecar) recover(parts *actor.Group) error {
	s.backlog = newBacklog(s.cfg)
	state, err := recovery.Open(recovery.Options{
		DataDir: s.cfg.DataDir, Strict: s.cfg.Strict, Logger: s.log.Named("recovery"),
		Journal: wal.Config{
			MaxBytes: int64(s.cfg.JournalBytes), ReserveBytes: int64(s.cfg.JournalReserve), //nolint:gosec // parsed to be below
			Logger:   s.log.Named("journal"),
			OnCommit: s.backlog.committed,
			OnSync:   s.synced,
		},
	})
	if err != nil {
		return ofDataDir(fmt.Errorf("data directory %s: %w", s.cfg.DataDir, err))
	}
	s.state, s.backlog.journal = state, state.Journal
	state.Ledger.SetLimits(letterLimits(s.cfg))
	parts.Defer("data directory", s.closeDataDir)
	for _, d := range state.Report.Damages {
		s.log.Error("acknowledged observations are damaged on disk; what can be read of them is kept in quarantine", "damage", d)
	}
	s.backlog.refill(state.Pending)
	parts.Go("journal", s.watchJournal)
	parts.Go("ledger", func(ctx context.Context) error {
		if err := state.Ledger.Run(ctx, state.Journal); err != nil {
			return &coded{exitIO, fmt.Errorf("the ledger's disk failed: %w: start again, and it recovers", err)}
		}
		return nil
	})
	return nil
}

// closeDataDir leaves out what watchJournal has told.
func (s *sidecar) closeDataDir() error {
	if err := s.state.Close(); !errors.Is(err, wal.ErrFailed) {
		return err
	}
	return nil
}

func (s *sidecar) synced(records, bytes int, took time.Duration) {
	s.metrics.Committed(records, took)
	s.backlog.sized(records, bytes)
}

// watchJournal ends the sidecar when the journal fails: after that nothing can be acknowledged, and the next start recovers.
func (s *sidecar) watchJournal(ctx context.Context) error {
	select {
	case <-s.state.Journal.Failed():
		return s.state.Journal.Err()
	case <-ctx.Done():
		return nil
	}
}

func (s *sidecar) openStore(parts *actor.Group) (err error) {
	if s.store, err = openBackend(s.cfg, s.state.Journal.Identity(), s.log.Named("store")); err != nil {
		return err
	}
	parts.Defer("store", s.store.Close)
	return nil
}

// A store that keeps versions says which it has: an older one that is pending is not shown then.
var (
	_ proxy.Versioner = (*embedded.Store)(nil)
	_ proxy.Versioner = (*postgres.Store)(nil)
)

// openBackend opens the store that the settings name, for the records of a journal.
func openBackend(cfg config.Config, journal [16]byte, log hclog.Logger) (backend, error) {
	switch kind, _ := cfg.StoreKind(); kind {
	case "postgres":
		s, err := postgres.Open(postgres.Config{
			URL: cfg.Store, Journal: journal, Index: postgres.Index(cfg.PostgresIndex), Search: cfg.PostgresSearch, Logger: log,
		})
		if err != nil {
			return nil, badConfig(err)
		}
		return s, nil
	case "engram":
		c, err := cfg.Engram()
		if err != nil {
			return nil, badConfig(err)
		}
		s, err := engram.Open(c, log)
		if err != nil {
			return nil, badConfig(err)
		}
		return s, nil
	}
	s, err := embedded.Open(storeDir(cfg.DataDir), embedded.Config{Logger: log, MaxMemories: cfg.EmbeddedMax})
	if err != nil {
		return nil, ofDataDir(err)
	}
	return s, nil
}

func (s *sidecar) beginForwarding(parts *actor.Group) (err error) {
	wish := s.store.Capabilities()
	s.forward, err = forward.New(
		forward.Config{BatchItems: wish.BatchItems, BatchBytes: wish.BatchBytes, Parallel: wish.Parallel, Grace: cleanGrace / 2},
		forward.Deps{
			Queue: s.backlog.queue, Cache: s.backlog.cache, Store: s.turns.Take(s.store), Source: s.state.Journal,
			Sink: sink{s.state.Ledger, s.news}, Logger: s.log.Named("forward"),
		})
	if err != nil {
		return err
	}
	s.backlog.forward = s.forward
	s.admin.SetDeadLetters(letters.NewDesk(letters.Deps{
		Ledger: s.state.Ledger, Journal: s.state.Journal, Store: s.store, Turns: &s.turns, Logger: s.log.Named("letters"),
	}))
	parts.Go("forwarder", s.forward.Run)
	return nil
}

func (s *sidecar) beginEdge(parts *actor.Group) (err error) {
	upstream, _ := s.store.(proxy.Upstream) // nil for a store that is no server
	s.edge, err = proxy.New(
		proxy.Config{
			DefaultSpace:    s.cfg.DefaultSpace,
			Session:         session.Config{Timeout: s.cfg.SessionTimeout, Limit: s.cfg.MaxSessions},
			MaxEpisodeBytes: int(s.cfg.MaxEpisode), MaxMessageBytes: int(s.cfg.MaxMessage), //nolint:gosec // parsed to be below
			MaxStreams: s.cfg.MaxStreams, MaxConnections: s.cfg.MaxConnections, Quota: quotaOf(s.cfg),
			MaxCancelled: s.cfg.MaxCancelled, MaxBarren: s.cfg.MaxRefused,
			Grace: cleanGrace / 2,
		},
		proxy.Deps{
			Journal:    proxy.OverJournal(s.state.Journal),
			Store:      s.store,
			Pending:    proxy.Backlog{Runs: s.state.Ledger.Pending, Journal: s.state.Journal},
			Settlement: s.state.Ledger,
			Lanes:      s.backlog,
			Upstream:   upstream,
			News:       s.news,
			Restored:   restored(s.state.Sessions),
			Tokens:     s.guard.tokens,
			TLS:        s.guard.grpcTLS(),
			Observer:   s.metrics,
			Logger:     s.log.Named("edge"),
		})
	if err != nil {
		return badConfig(err)
	}
	parts.Go("gRPC server", func(ctx context.Context) error { return s.edge.Run(ctx, s.grpc) })
	return nil
}

// stopping tells operators that a stop has begun.
func (s *sidecar) stopping(why error) {
	s.admin.SetNotReady(string(admin.StateStopping))
	s.admin.SetStatus(func() admin.Status {
		st := s.status()
		st.State = admin.StateStopping
		return st
	})
	if why != nil {
		s.log.Error("stopping", "why", why)
		return
	}
	s.log.Info("stopping: acks owed are sent, answers in flight are collected")
}
