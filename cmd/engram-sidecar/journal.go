package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func (p *program) journalCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "journal",
		Short: "Look into a data directory, check it, repair it, get what is in it out",
		Long: `journal works on a data directory, not on an address. inspect, verify and export change nothing and may be run
beside a sidecar that uses the directory; they then read its journal as it is at one moment, and take what is not
known to be delivered for pending. repair needs a stopped one. No command but export shows what observations say.`,
		Example: `  engram-sidecar journal inspect
  engram-sidecar journal verify --data-dir /var/lib/engram-sidecar
  engram-sidecar journal export > pending.jsonl`,
		Args: cobra.ArbitraryArgs,
		RunE: unknownCommand,
	}
	c.AddCommand(p.inspectCommand(), p.verifyCommand(), p.repairCommand(), p.exportCommand())
	return c
}

// dataDirFlags gives a command the flags that say which data directory is meant, as they say it to serve.
type dataDirFlags struct{ file string }

func (f *dataDirFlags) add(c *cobra.Command) {
	for _, s := range config.Settings {
		if s.Name == "data-dir" {
			c.Flags().Var(&settingFlag{kind: s.Value}, s.Name, fmt.Sprintf("the data directory (default %s)", s.Default))
		}
	}
	c.Flags().StringVar(&f.file, "config", "", "YAML `FILE` of serve's settings that names it (default none)")
}

// addStore adds the flag that says to which store what is in the directory goes.
func (f *dataDirFlags) addStore(c *cobra.Command) {
	for _, s := range config.Settings {
		if s.Name == "store" {
			c.Flags().Var(&settingFlag{kind: s.Value}, s.Name, fmt.Sprintf("with --data-dir, %s (default %s)", s.Help, s.Default))
		}
	}
}

// dir is the directory: that of the flag, the environment, the file, or the default.
func (f *dataDirFlags) dir(p *program, c *cobra.Command) (string, error) {
	cfg, err := f.load(p, c)
	return cfg.DataDir, err
}

// load reads all settings, as serve would.
func (f *dataDirFlags) load(p *program, c *cobra.Command) (config.Config, error) {
	cfg, err := config.Load(config.Sources{Flags: givenSettings(c.Flags()), Environ: p.environ, File: f.file})
	return cfg, badConfig(err)
}

// onInspection gives a command a look at its data directory.
func (p *program) onInspection(f *dataDirFlags, do func(*recovery.Inspection, string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		dir, err := f.dir(p, cmd)
		if err != nil {
			return err
		}
		i, err := inspect(dir)
		if err != nil {
			return err
		}
		return errors.Join(do(i, dir), i.Close())
	}
}

func inspect(dir string) (*recovery.Inspection, error) {
	i, err := recovery.Inspect(dir)
	if err != nil {
		return nil, ofLook(fmt.Errorf("data directory %s: %w", dir, err))
	}
	return i, nil
}

// ofLook gives an error of a data directory its code: one that is none, or not whole yet, is for the operator to mend. Code
// 1 is left to verify's verdict.
func ofLook(err error) error {
	for _, mendable := range []error{recovery.ErrNoDataDir, recovery.ErrUnfinished, recovery.ErrNotEmpty, fs.ErrNotExist} {
		if errors.Is(err, mendable) {
			return badConfig(err)
		}
	}
	return ofDataDir(err)
}

func (p *program) verifyCommand() *cobra.Command {
	var where dataDirFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check every byte of a journal",
		Long: `verify reads every record of the journal and compares it with its checksums, and the records with each other: what
is missing is damage too. It names each damage by file, offset, session and sequence, and ends with 1 where there is
any, with 0 where the journal is whole. A torn tail, which a crash leaves of what was never acknowledged, is said and
is no damage.`,
		Example: `  engram-sidecar journal verify
  engram-sidecar journal verify --data-dir /var/lib/engram-sidecar --json | jq .damages`,
		Args: noArguments,
	}
	where.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print what was found as a JSON object")
	c.RunE = p.onInspection(&where, func(i *recovery.Inspection, dir string) error {
		var err error
		if asJSON {
			err = p.writeJSON(foundOf(i, dir))
		} else {
			err = p.write(verdict(i, dir))
		}
		if err == nil && len(i.Damages) > 0 {
			err = fmt.Errorf("the journal in %s is damaged in %d places: `engram-sidecar journal repair --dry-run` says what a start does about it",
				dir, i.Places())
		}
		return err
	})
	return c
}

// verdict is what verify says to a person.
func verdict(i *recovery.Inspection, dir string) string {
	var b strings.Builder
	for _, d := range i.Damages {
		fmt.Fprintln(&b, printable("DAMAGE "+damageLine(d)))
	}
	if i.Torn != nil {
		fmt.Fprintln(&b, printable(tornLine(i)))
	}
	if len(i.Damages) == 0 {
		fmt.Fprintln(&b, printable(fmt.Sprintf("whole: %d records in %d generations, %s, in %s",
			i.Records, i.Generations, inUnits(uint64(i.Bytes)), dir))) //nolint:gosec // a size
	}
	return b.String()
}

// damageLine is one damage on one line; what is not known of it is left out.
func damageLine(d *wal.DamageError) string {
	s := fmt.Sprintf("%s offset %d", d.File, d.Offset)
	if d.Length > 0 {
		s += fmt.Sprintf(" length %d", d.Length)
	}
	if d.First != 0 {
		s += fmt.Sprintf(" index %d to %d", d.First, d.Last)
	}
	if !d.Session.IsZero() {
		s += fmt.Sprintf(" session %v sequence %d", d.Session, d.Sequence)
	}
	if d.Space != "" {
		s += " space " + d.Space
	}
	return s + ": " + d.Reason
}

func tornLine(i *recovery.Inspection) string {
	what := "torn tail, never acknowledged: the next start cuts it"
	if i.Holder != "" {
		what = "batch that is being written"
	}
	return fmt.Sprintf("torn   %s offset %d length %d: %s", i.Torn.File, i.Torn.Offset, i.Torn.Length, what)
}

func (p *program) repairCommand() *cobra.Command {
	var where dataDirFlags
	var dry, yes bool
	c := &cobra.Command{
		Use:   "repair",
		Short: "Do to a stopped data directory what a start does",
		Long: `repair makes a stopped data directory consistent, as every start of serve does: it keeps copies of damaged bytes in
quarantine, cuts a torn tail, finishes deletions, builds a lost ledger anew, and counts what is lost. What can be read
is never thrown away. It needs --dry-run, which only says what it would do, or --yes.

A damaged generation stays where it is until everything readable in it is delivered; verify names the damage until then.`,
		Example: `  engram-sidecar journal repair --dry-run
  engram-sidecar journal repair --yes`,
		Args: noArguments,
	}
	where.add(c)
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, and change nothing")
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if dry == yes {
			return usage("repair changes the data directory: give --dry-run to see how, or --yes to do it")
		}
		return p.onInspection(&where, func(i *recovery.Inspection, dir string) error { return p.repair(i, dir, yes) })(cmd, args)
	}
	return c
}

func (p *program) repair(i *recovery.Inspection, dir string, yes bool) error {
	if i.Holder != "" {
		return fmt.Errorf("%w: %s is held by %s: stop it first", wal.ErrLocked, dir, i.Holder)
	}
	var b strings.Builder
	for _, line := range i.Repairs() {
		fmt.Fprintln(&b, printable(line))
	}
	if b.Len() == 0 {
		b.WriteString("nothing to repair\n")
	}
	if err := p.write(b.String()); err != nil || !yes {
		return err
	}
	state, err := recovery.Open(recovery.Options{DataDir: dir})
	if err != nil {
		return ofDataDir(fmt.Errorf("data directory %s: %w", dir, err))
	}
	if err := state.Close(); err != nil {
		return ofDataDir(fmt.Errorf("data directory %s: %w", dir, err))
	}
	return p.write(printable("done: "+state.Report.String()) + "\n")
}

// untilDone turns the end of ctx into an error between two steps of something long.
func untilDone(ctx context.Context) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return nil
}
