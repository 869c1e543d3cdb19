package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/proxy/store/embedded"
	"github.com/engram-sidecar/engram-sidecar/recovery"
)

// storeDir is where the embedded store is, below a data directory.
func storeDir(dataDir string) string { return filepath.Join(dataDir, "store") }

func (p *program) backupCommand() *cobra.Command {
	var where dataDirFlags
	c := &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy the data directory, while the sidecar runs",
		Long: `backup makes the empty or missing DIR a copy of the data directory: journal and embedded store. What was acknowledged
before it began is in there. The sidecar may run and take observations meanwhile; it only gives no space of the journal
back. The copy is a data directory itself: journal inspect and verify read it, and restore copies it to where it is needed.

Not copied are the ledger, which a start builds anew from the journal, the quarantine, and what lies in a store that is
not embedded: that one is backed up by its own means.`,
		Example: `  engram-sidecar backup /mnt/backup/$(date +%F)
  engram-sidecar journal verify --data-dir /mnt/backup/2031-05-01`,
		Args: oneDirectory,
	}
	where.add(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := where.dir(p, cmd)
		if err != nil {
			return err
		}
		return p.copyDataDir(cmd.Context(), "backed up", dir, args[0])
	}
	return c
}

func (p *program) restoreCommand() *cobra.Command {
	var where dataDirFlags
	c := &cobra.Command{
		Use:   "restore DIR",
		Short: "Make an empty data directory what a backup was",
		Long: `restore copies a backup to the data directory, which has to be empty or missing; nothing is ever written over. What was
acknowledged before the backup began is there when the sidecar is started. What it had not yet delivered, or not yet
given back, is delivered again, which stores nothing twice. Sessions resume where they stood at the backup: a client
that keeps what it sent sends the rest again.

DIR stays as it is.`,
		Example: `  engram-sidecar restore /mnt/backup/2031-05-01
  engram-sidecar restore /mnt/backup/2031-05-01 --data-dir /srv/engram-sidecar`,
		Args: oneDirectory,
	}
	where.add(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := where.dir(p, cmd)
		if err != nil {
			return err
		}
		return p.copyDataDir(cmd.Context(), "restored", args[0], dir)
	}
	return c
}

func oneDirectory(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usage("expected one directory, got %d arguments: see %s --help", len(args), cmd.CommandPath())
	}
	return nil
}

// lies says whether a path is in a directory, or is it. What is not there yet is judged by what it will be in.
func lies(path, dir string) bool {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false // whoever opens it says why
	}
	if path, err = filepath.Abs(path); err != nil {
		return false
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false
	}
	for {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		if path == dir {
			return true
		}
		up := filepath.Dir(path)
		if up == path {
			return false
		}
		path = up
	}
}

// copyDataDir copies a data directory with its embedded store, and says what is in the copy.
func (p *program) copyDataDir(ctx context.Context, did, from, to string) error {
	if lies(to, from) {
		return badConfig(fmt.Errorf("%s lies in %s: the copy would go with what it is a copy of: name a directory elsewhere, on another disk at best", to, from))
	}
	var stored int64
	c, err := recovery.Copy(ctx, from, to, func(ctx context.Context) (err error) {
		stored, err = embedded.Copy(ctx, storeDir(from), storeDir(to))
		return err
	})
	if err != nil {
		return ofLook(fmt.Errorf("%s to %s: %w", from, to, err))
	}
	return p.write(printable(fmt.Sprintf("%s %s to %s: journal up to index %d, %s in %d generations; embedded store %s", did, from, to,
		c.Last, inUnits(uint64(c.Bytes)), c.Generations, inUnits(uint64(stored)))) + "\n") //nolint:gosec // sizes
}
