package main

import (
	"context"
	"errors"
	"io"
	"time"

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
acknowledged is lost.`,
		Example: `  engram-sidecar serve
  engram-sidecar serve --listen unix:///run/engram-sidecar/grpc.sock --data-dir /var/lib/engram-sidecar
  engram-sidecar serve --store engram://10.0.0.7:50051 --journal-max-bytes 20GiB`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.Sources{Flags: givenSettings(cmd.Flags()), Environ: p.environ, File: file})
			if err != nil {
				return badConfig(err)
			}
			return p.serve(cmd.Context(), cfg)
		},
	}
	addSettings(c.Flags())
	c.Flags().StringVar(&file, "config", "", "YAML `FILE` of settings (default none)")
	return c
}

// serve runs the sidecar until ctx ends or something fails for good.
func (p *program) serve(ctx context.Context, cfg config.Config) error {
	log := newLogger(cfg, p.stderr)
	var parts actor.Group
	s, err := assemble(cfg, log, &parts)
	if err != nil {
		return errors.Join(err, parts.Stop(brokenGrace, err))
	}
	log.Info("serving", "grpc", addressOf(s.grpc), "admin", addressOf(s.http), "store", cfg.StoreShown(), "data_dir", cfg.DataDir,
		"recovered", s.state.Report.String())
	s.admin.SetReady()
	err = parts.Wait(ctx, func(why error) time.Duration {
		s.stopping(why)
		if errors.Is(why, wal.ErrFailed) {
			return brokenGrace
		}
		return cleanGrace
	})
	log.Info("stopped", "pending", s.state.Ledger.Balance().Pending)
	return err
}

// newLogger logs to w, as text where a person reads along and as JSON where a machine does.
func newLogger(cfg config.Config, w io.Writer) hclog.Logger {
	asJSON := cfg.LogFormat == "json" || cfg.LogFormat == "auto" && !isTerminal(w)
	return hclog.New(&hclog.LoggerOptions{
		Name: "engram-sidecar", Level: hclog.LevelFromString(cfg.LogLevel), Output: w, JSONFormat: asJSON,
		JSONEscapeDisabled: true, TimeFn: func() time.Time { return time.Now().UTC() },
	})
}
