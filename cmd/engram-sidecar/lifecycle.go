package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/actor"
	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/proxy"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// startExtension is how much more time a start asks the service manager for, again and again while it lasts.
const startExtension = 30 * time.Second

// notifier tells the service manager where the process stands. Without one it tells nobody.
type notifier struct{ log hclog.Logger }

func (n notifier) tell(states ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(states, "\n")); err != nil {
		n.log.Warn("the service manager cannot be told", "error", err)
	}
}

// operate begins what serves operators and the service manager.
func (s *sidecar) operate(parts *actor.Group, r *reloader, n notifier) *operator {
	op := &operator{s: s, emptied: make(chan struct{})}
	parts.Go("operator", op.watch)
	parts.Go("watchdog", s.feedWatchdog(n))
	parts.Go("reloader", func(ctx context.Context) error { return r.run(ctx, s, n) })
	s.admin.SetOperator(op)
	return op
}

// feedWatchdog feeds the service manager's watchdog with what went the way of an acknowledgement: a commit of observations
// since the last time, or else a probe, which the journal's committer writes and fsyncs as it does those. A disk or a
// committer that hangs starves it, whatever else of the process still runs.
func (s *sidecar) feedWatchdog(n notifier) func(context.Context) error {
	return func(ctx context.Context) error {
		every, err := daemon.SdWatchdogEnabled(false)
		if err != nil {
			n.log.Warn("the watchdog is not fed", "error", err)
		}
		if every == 0 {
			<-ctx.Done()
			return nil
		}
		look := time.NewTicker(every / 3)
		defer look.Stop()
		var last uint64
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-look.C:
			}
			if s.alive(ctx, &last) {
				n.tell(daemon.SdNotifyWatchdog)
			}
		}
	}
}

// alive says that the way of an acknowledgement is open: last is how far it was durable.
func (s *sidecar) alive(ctx context.Context, last *uint64) bool {
	if now := s.state.Journal.Durable(); now != *last {
		*last = now
		return true
	}
	probe := wal.Record{Kind: wal.KindProbe}
	_, err := s.state.Journal.Write(ctx, &probe)
	*last = s.state.Journal.Durable()
	return err == nil || errors.Is(err, wal.ErrFull) // full is a normal state: it refuses, and says so
}

// reloader reads the settings again.
type reloader struct {
	load      func() (config.Config, []config.Effective, error)
	cfg       config.Config
	effective []config.Effective
	wishes    <-chan os.Signal
}

func (r *reloader) run(ctx context.Context, s *sidecar, n notifier) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wishes:
			n.tell(daemon.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", monotonic()))
			r.reload(s)
			n.tell(daemon.SdNotifyReady)
		}
	}
}

// monotonic is the system's monotonic clock, which a reload has to name.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it is always there
	return t.Nano() / 1000
}

// reload changes what can be changed, and says what of the rest would need a restart. What cannot work changes nothing.
func (r *reloader) reload(s *sidecar) {
	cfg, effective, err := r.load()
	if err != nil {
		s.log.Error("the settings were not read again: they cannot work, and those of before go on to hold", "error", err)
		return
	}
	if err := s.edge.SetLimits(limitsOf(cfg)); err != nil {
		s.log.Error("the settings were not read again: they cannot work, and those of before go on to hold", "error", err)
		return
	}
	s.log.SetLevel(hclog.LevelFromString(cfg.LogLevel))
	if err := s.guard.reload(); err != nil {
		s.log.Error("tokens or certificates could not be read again: those of before go on to hold", "error", err)
	}
	var changed, later []string
	for _, name := range config.Changed(r.effective, effective) {
		if config.Live(name) {
			changed = append(changed, name)
		} else {
			later = append(later, name)
		}
	}
	s.log.Info("settings, tokens and certificates were read again", "changed", changed)
	if len(later) > 0 {
		s.log.Warn("settings have changed that hold from the next start on", "settings", later)
	}
	r.cfg, r.effective = cfg, keep(r.effective, effective)
}

// keep is what holds after a reload: the new values of what could be changed, the old ones of the rest.
func keep(before, after []config.Effective) []config.Effective {
	out := make([]config.Effective, len(after))
	for i, e := range after {
		out[i] = e
		if !config.Live(e.Name) && i < len(before) && before[i].Name == e.Name {
			out[i] = before[i]
		}
	}
	return out
}

// limitsOf are the settings that the edge can change.
func limitsOf(cfg config.Config) proxy.Limits {
	return proxy.Limits{
		Session:         session.Config{Timeout: cfg.SessionTimeout, Limit: cfg.MaxSessions},
		MaxEpisodeBytes: int(cfg.MaxEpisode), MaxConnections: cfg.MaxConnections, //nolint:gosec // parsed to be below
		Quota: quotaOf(cfg),
	}
}

func quotaOf(cfg config.Config) proxy.Quota {
	return proxy.Quota{Bytes: int(cfg.ClientBytes), Messages: cfg.ClientWrites} //nolint:gosec // Validate bounds it
}
