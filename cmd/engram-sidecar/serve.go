package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/actor"
	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// How long a stop may take: one that was asked for, and one after which nothing can be made durable any more.
const (
	cleanGrace  = 10 * time.Second
	brokenGrace = 500 * time.Millisecond
)

func (p *program) serveCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the sidecar",
		Long: `serve takes observations over gRPC, journals them, acknowledges each when it is on disk, and delivers them to the
store. Every flag is also a key of the file that --config names and, in capitals behind ENGRAM_SIDECAR_, an
environment variable (--data-dir is ENGRAM_SIDECAR_DATA_DIR); the flag wins over the variable, that over the file.

SIGTERM or Ctrl-C stops it cleanly within 10 seconds; a second one ends it at once. Either way nothing that was
acknowledged is lost. SIGHUP reads the file, tokens and certificates again: see docs/configuration.md. Under systemd
it says when it serves, and feeds the watchdog with what the journal makes durable (Type=notify).`,
		Example: `  engram-sidecar serve
  engram-sidecar serve --listen unix:///run/engram-sidecar/grpc.sock --data-dir /var/lib/engram-sidecar
  engram-sidecar serve --store engram://10.0.0.7:50051 --journal-max-bytes 20GiB`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (config.Config, []config.Effective, error) {
				return config.LoadEffective(config.Sources{Flags: givenSettings(cmd.Flags()), Environ: p.environ, File: file})
			}
			cfg, effective, err := load()
			if err != nil {
				return badConfig(err)
			}
			return p.serve(cmd.Context(), cfg, &reloader{load: load, cfg: cfg, effective: effective})
		},
	}
	addSettings(c.Flags())
	c.Flags().StringVar(&file, "config", "", "YAML `FILE` of settings (default none)")
	return c
}

// serve runs the sidecar until ctx ends or something fails for good.
func (p *program) serve(ctx context.Context, cfg config.Config, r *reloader) error {
	log := newLogger(cfg, p.stderr)
	n := notifier{log}
	if p.hangups != nil {
		wishes, stop := p.hangups()
		defer stop()
		r.wishes = wishes
	}
	parts := &actor.Group{}
	s, err := p.start(ctx, cfg, log, parts, n)
	if err != nil {
		return errors.Join(err, parts.Stop(brokenGrace, err))
	}
	if s == nil {
		return nil // stopped while it started
	}
	for _, warning := range cfg.Warnings() {
		log.Warn(warning)
	}
	op := s.operate(parts, r, n) //nolint:contextcheck // the parts outlive ctx, to end in their order
	log.Info("serving", "grpc", addressOf(s.grpc), "admin", addressOf(s.http), "store", cfg.StoreShown(), "data_dir", cfg.DataDir,
		"recovered", s.state.Report.String())
	s.admin.SetReady()
	n.tell(daemon.SdNotifyReady, "STATUS=serving gRPC on "+addressOf(s.grpc))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-op.emptied:
			cancel()
		case <-ctx.Done():
		}
	}()
	err = parts.Wait(ctx, func(why error) time.Duration {
		n.tell(daemon.SdNotifyStopping, "STATUS=stopping")
		s.stopping(why)
		if errors.Is(why, wal.ErrFailed) {
			return brokenGrace
		}
		return cleanGrace
	})
	log.Info("stopped", "pending", s.state.Ledger.Balance().Pending)
	return err
}

// start assembles the sidecar. Where ctx ends meanwhile it waits for nothing: what a recovery was about is as safe from that
// as from a crash, nobody was served, and the next start begins with it again. It returns nil then, and the process ends.
func (p *program) start(ctx context.Context, cfg config.Config, log hclog.Logger, parts *actor.Group, n notifier) (*sidecar, error) {
	type started struct {
		s   *sidecar
		err error
	}
	done := make(chan started, 1)
	go func() { // ends when all is assembled, or with the process
		s, err := assemble(cfg, log, parts)
		done <- started{s, err}
	}()
	more := time.NewTicker(startExtension / 2)
	defer more.Stop()
	for {
		select {
		case st := <-done:
			return st.s, st.err
		case <-more.C:
			n.tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", startExtension.Microseconds()), "STATUS=recovering")
		case <-ctx.Done():
			select {
			case st := <-done: // just now
				if st.err != nil || st.s != nil {
					return st.s, st.err
				}
			default:
			}
			n.tell(daemon.SdNotifyStopping)
			log.Info("stopped while it was starting: nothing was served, and the next start goes on")
			return nil, nil //nolint:nilnil // no sidecar, and no error
		}
	}
}

// newLogger logs to w, as text where a person reads along and as JSON where a machine does.
func newLogger(cfg config.Config, w io.Writer) hclog.Logger {
	asJSON := cfg.LogFormat == "json" || cfg.LogFormat == "auto" && !isTerminal(w)
	return hclog.New(&hclog.LoggerOptions{
		Name: "engram-sidecar", Level: hclog.LevelFromString(cfg.LogLevel), Output: w, JSONFormat: asJSON,
		JSONEscapeDisabled: true, TimeFn: func() time.Time { return time.Now().UTC() },
	})
}
