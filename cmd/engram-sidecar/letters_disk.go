package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
	"github.com/engram-sidecar/engram-sidecar/proxy/letters"
	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// lettersOnDisk works on a data directory.
type lettersOnDisk struct {
	cfg config.Config
	log hclog.Logger
}

// quiet is cfg for a command that only tells of trouble.
func quiet(cfg config.Config) config.Config {
	cfg.LogLevel = "error"
	cfg.PostgresIndex = "none" // there is no time to build one
	return cfg
}

// each implements letterSource. The directory may be in use.
func (l *lettersOnDisk) each(ctx context.Context, sel admin.Selection, visit func(*admin.DeadLetter) error) error {
	i, err := inspect(l.cfg.DataDir)
	if err != nil {
		return err
	}
	wanted := map[uint64]bool{}
	for _, n := range sel.Indexes {
		wanted[n] = true
	}
	err = i.Letters(func(d *ledger.Letter) error {
		shown := letters.Show(d)
		if len(wanted) > 0 && !wanted[d.Index] || !sel.Fits(&shown) {
			return nil
		}
		return errors.Join(untilDone(ctx), visit(&shown))
	})
	return errors.Join(err, i.Close())
}

// settle implements letterSource. It is a start, the desk, and a clean stop.
func (l *lettersOnDisk) settle(ctx context.Context, how settling, sel admin.Selection) (out admin.LetterResults, err error) {
	if err := isStopped(l.cfg.DataDir); err != nil {
		return out, err
	}
	state, err := recovery.Open(recovery.Options{
		DataDir: l.cfg.DataDir, Strict: l.cfg.Strict, Logger: l.log,
		Journal: wal.Config{MaxBytes: int64(l.cfg.JournalBytes), ReserveBytes: int64(l.cfg.JournalReserve)}, //nolint:gosec // parsed to be below
	})
	if err != nil {
		return out, ofDataDir(fmt.Errorf("data directory %s: %w", l.cfg.DataDir, err))
	}
	defer func() {
		if closing := state.Close(); closing != nil {
			err = errors.Join(err, ofDataDir(fmt.Errorf("data directory %s: %w", l.cfg.DataDir, closing)))
		}
	}()
	deps := letters.Deps{Ledger: state.Ledger, Journal: state.Journal, Logger: l.log}
	if how.name == dropping.name {
		return letters.NewDesk(deps).Drop(ctx, sel)
	}
	s, err := openBackend(l.cfg, state.Journal.Identity(), l.log) //nolint:contextcheck // a store outlives the call that opens it
	if err != nil {
		return out, err
	}
	deps.Store = s
	out, err = letters.NewDesk(deps).Replay(ctx, sel)
	if err != nil {
		out.Error, err = err.Error(), nil // what was done before is told
	}
	return out, errors.Join(err, s.Close())
}

// isStopped refuses a directory that is none, or that a process has.
func isStopped(dir string) error {
	if err := recovery.CheckDataDir(dir); err != nil {
		return ofLook(fmt.Errorf("data directory %s: %w", dir, err))
	}
	i, err := wal.LockHolder(dir)
	switch {
	case err != nil:
		return ofLook(fmt.Errorf("data directory %s: %w", dir, err))
	case i != "":
		return fmt.Errorf("%w: %s is held by %s: ask it with --admin, or stop it first", wal.ErrLocked, dir, i)
	}
	return nil
}
