package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/proxy/store/embedded"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func (p *program) storeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "store",
		Short: "Look into the embedded store of a data directory, give back what it does not need",
		Long: `store works on a data directory, not on an address, and the sidecar must be stopped: a running one tells of its store
with ` + "`engram-sidecar status`" + `. Both commands take over what a crash left, as a start does.`,
		Example: `  engram-sidecar store inspect
  engram-sidecar store compact --data-dir /var/lib/engram-sidecar`,
		Args: cobra.ArbitraryArgs,
		RunE: unknownCommand,
	}
	c.AddCommand(p.storeInspectCommand(), p.storeCompactCommand())
	return c
}

func (p *program) storeCompactCommand() *cobra.Command {
	var where dataDirFlags
	var o embedded.CompactOptions
	c := &cobra.Command{
		Use:   "compact",
		Short: "Give back the place of versions that were superseded",
		Long: `compact writes the memories that count to a second store beside the first, exchanges the two in one step and removes the
old one. A crash at any moment leaves one of them in its place, whole. For a while there must be room for both; compact
says how much is missing before it begins.

A memory that is damaged and cannot be read ends it before anything changed, unless --drop-damaged lets it go for good.`,
		Example: `  engram-sidecar store compact --data-dir /var/lib/engram-sidecar`,
		Args:    noArguments,
	}
	where.add(c)
	c.Flags().BoolVar(&o.DropDamaged, "drop-damaged", false, "let memories go that cannot be read")
	c.RunE = p.onStoppedStore(&where, func(ctx context.Context, dir string) error {
		done, err := embedded.Compact(ctx, dir, embedded.Config{}, o)
		if err != nil {
			return err
		}
		if done.GivenUp == 0 {
			return p.write(printable(fmt.Sprintf("%s is compact: %d memories in %s", dir, done.Memories, inUnits(uint64(done.Before)))) + "\n") //nolint:gosec // sizes
		}
		return p.write(printable(fmt.Sprintf("compacted %s: %d memories, %d rows given up, %s instead of %s", dir, done.Memories,
			done.GivenUp, inUnits(uint64(done.After)), inUnits(uint64(done.Before)))) + "\n") //nolint:gosec // sizes
	})
	return c
}

// storeFound is what inspect prints as JSON.
type storeFound struct {
	Directory  string         `json:"directory"`
	Memories   int            `json:"memories"`
	Superseded int            `json:"superseded"` // rows that a compaction would give up
	Damaged    int            `json:"damaged"`    // as far as opening showed
	Segments   int            `json:"segments"`
	Bytes      int64          `json:"bytes"`
	MeantFor   int            `json:"meant_for"`
	Spaces     map[string]int `json:"spaces"` // memories by space
}

func (p *program) storeInspectCommand() *cobra.Command {
	var where dataDirFlags
	var asJSON bool
	c := &cobra.Command{
		Use:     "inspect",
		Short:   "Say how much an embedded store holds",
		Long:    `inspect says how many memories a store holds in which spaces, what they take, and what compact would give back.`,
		Example: `  engram-sidecar store inspect --json | jq .superseded`,
		Args:    noArguments,
	}
	where.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print it as a JSON object")
	c.RunE = p.onStoppedStore(&where, func(_ context.Context, dir string) error {
		s, err := embedded.Open(dir, embedded.Config{})
		if err != nil {
			return err
		}
		st := s.Stats()
		found := storeFound{
			Directory: dir, Memories: st.Live, Superseded: st.Rows - st.Live - st.Damaged, Damaged: st.Damaged, Segments: st.Segments,
			Bytes: st.Bytes, MeantFor: embedded.MeantFor, Spaces: map[string]int{},
		}
		spaces := s.Spaces()
		for _, name := range spaces {
			found.Spaces[name] = s.Count(name)
		}
		if err := s.Close(); err != nil {
			return err
		}
		if asJSON {
			return p.writeJSON(found)
		}
		var b strings.Builder
		fmt.Fprintln(&b, printable(fmt.Sprintf("store     %s: %d memories, %d superseded versions, %d damaged, %s in %d segments; meant for %d",
			dir, found.Memories, found.Superseded, found.Damaged, inUnits(uint64(found.Bytes)), found.Segments, found.MeantFor))) //nolint:gosec // sizes
		for _, name := range spaces {
			fmt.Fprintln(&b, printable(fmt.Sprintf("space     %s: %d memories", name, found.Spaces[name])))
		}
		return p.write(b.String())
	})
	return c
}

// onStoppedStore gives a command the embedded store of a data directory that no sidecar has open.
func (p *program) onStoppedStore(f *dataDirFlags, do func(ctx context.Context, dir string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		dir, err := f.dir(p, cmd)
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(storeDir(dir), "FORMAT")); err != nil {
			return badConfig(fmt.Errorf("expected an embedded store in %s, found none: %w; --data-dir names another data directory", dir, err))
		}
		lock, err := wal.AcquireLock(dir)
		if errors.Is(err, wal.ErrLocked) {
			return ofDataDir(fmt.Errorf("%w; stop the sidecar first: a running one tells of its store with `engram-sidecar status`", err))
		}
		if err != nil {
			return ofDataDir(err)
		}
		err = do(cmd.Context(), storeDir(dir))
		if errors.Is(err, embedded.ErrDamaged) {
			err = &coded{exitIO, err}
		} else if err != nil {
			err = ofDataDir(err)
		}
		return errors.Join(err, lock.Release())
	}
}
