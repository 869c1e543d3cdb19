package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

func (p *program) deadlettersCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "deadletters",
		Short: "List, replay or drop what the store refused for good",
		Long: `deadletters shows the observations that the store refused for good, and settles them. They are kept, with the store's
own words, until they are replayed or dropped.

The commands ask the running sidecar at --admin; with --data-dir (or --config) they work on a data directory. list and show
then read it whether it is stopped or not, replay and drop need it stopped. What an observation says is shown by none of
them: journal export --dead prints that.`,
		Example: `  engram-sidecar deadletters list
  engram-sidecar deadletters show 4711
  engram-sidecar deadletters replay --all`,
		Args: cobra.ArbitraryArgs,
		RunE: unknownCommand,
	}
	c.AddCommand(p.listLettersCommand(), p.showLettersCommand(),
		p.settleLettersCommand(replaying), p.settleLettersCommand(dropping))
	return c
}

// letterFlags are what the commands have in common: where the letters are, and which are meant.
type letterFlags struct {
	admin   adminAddress
	dataDir dataDirFlags
	sel     admin.Selection
	asJSON  bool
}

func (f *letterFlags) add(c *cobra.Command) {
	addAdmin(c.Flags(), &f.admin)
	f.dataDir.add(c)
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
}

func (f *letterFlags) addFilters(c *cobra.Command) {
	c.Flags().StringVar(&f.sel.ID, "id", "", "only those with this memory `ID`")
	c.Flags().StringVar(&f.sel.Space, "space", "", "only those of this memory `SPACE`")
	c.Flags().StringVar(&f.sel.Reason, "reason", "", "only those in whose reason this `TEXT` stands, in upper or lower case")
}

// source is where the letters are, by the flags that were given.
func (f *letterFlags) source(p *program, c *cobra.Command) (letterSource, error) {
	offline := c.Flags().Changed("data-dir") || c.Flags().Changed("config")
	if offline && c.Flags().Changed("admin") {
		return nil, usage("--admin asks a running sidecar, --data-dir works on a directory: give one of them")
	}
	if !offline {
		_, err := f.admin.base()
		return &lettersByHTTP{f.admin}, err
	}
	cfg, err := f.dataDir.load(p, c)
	return &lettersOnDisk{cfg: cfg, log: newLogger(quiet(cfg), p.stderr)}, err
}

// letterSource is a running sidecar or a data directory.
type letterSource interface {
	// each visits the selected letters, ascending.
	each(ctx context.Context, sel admin.Selection, visit func(*admin.DeadLetter) error) error
	settle(ctx context.Context, how settling, sel admin.Selection) (admin.LetterResults, error)
}

// indexes reads the arguments of a command.
func indexes(args []string) (out []uint64, err error) {
	for _, a := range args {
		n, err := strconv.ParseUint(a, 10, 64)
		if err != nil || n == 0 {
			return nil, usage("%q is no index of a dead letter: expected a number as list prints it; a memory id goes with --id", a)
		}
		out = append(out, n)
	}
	return out, nil
}

func (p *program) listLettersCommand() *cobra.Command {
	var f letterFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "List the dead letters",
		Long: `list prints a line for each dead letter: its index, when it died, how often it was refused, whose it is, and the store's
own words.`,
		Example: `  engram-sidecar deadletters list
  engram-sidecar deadletters list --reason "dimension" --json
  engram-sidecar deadletters list --data-dir /var/lib/engram-sidecar`,
		Args: noArguments,
	}
	f.add(c)
	f.addFilters(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		from, err := f.source(p, cmd)
		if err != nil {
			return err
		}
		return p.listLetters(cmd.Context(), from, f.sel, f.asJSON)
	}
	return c
}

func (p *program) listLetters(ctx context.Context, from letterSource, sel admin.Selection, asJSON bool) error {
	n, width := 0, widthOf(p.stdout)
	all := []admin.DeadLetter{}
	err := from.each(ctx, sel, func(d *admin.DeadLetter) error {
		n++
		if asJSON {
			all = append(all, *d)
			return nil
		}
		return p.write(clip(letterLine(d), width) + "\n")
	})
	switch {
	case err != nil:
		return err
	case asJSON:
		return p.writeJSON(all)
	case n == 0:
		return p.write("no dead letters\n")
	}
	return nil
}

// letterLine is a letter on one line.
func letterLine(d *admin.DeadLetter) string {
	out := ""
	if d.Superseded {
		out = " superseded"
	}
	return printable(fmt.Sprintf("%d %s attempts %d space %s id %s session %s sequence %d%s: %s", d.Index,
		d.DiedAt.Format("2006-01-02T15:04:05Z"), d.Attempts, orDash(d.Space), orDash(d.ID), orDash(d.Session), d.Sequence, out, d.Reason))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (p *program) showLettersCommand() *cobra.Command {
	var f letterFlags
	c := &cobra.Command{
		Use:   "show INDEX...",
		Short: "Show all that is known of dead letters",
		Long:  `show prints whose each letter is, when it was accepted and died, and the store's own words, whole.`,
		Example: `  engram-sidecar deadletters show 4711
  engram-sidecar deadletters show 4711 4712 --json`,
		Args: cobra.ArbitraryArgs,
	}
	f.add(c)
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if f.sel.Indexes, err = indexes(args); err != nil {
			return err
		}
		if len(args) == 0 {
			return usage("which dead letters: expected indexes as list prints them, got none")
		}
		from, err := f.source(p, cmd)
		if err != nil {
			return err
		}
		return p.showLetters(cmd.Context(), from, f.sel, f.asJSON)
	}
	return c
}

func (p *program) showLetters(ctx context.Context, from letterSource, sel admin.Selection, asJSON bool) error {
	var texts []string
	all := []admin.DeadLetter{}
	missing := map[uint64]bool{}
	for _, i := range sel.Indexes {
		missing[i] = true
	}
	err := from.each(ctx, sel, func(d *admin.DeadLetter) error {
		delete(missing, d.Index)
		texts, all = append(texts, letterText(d)), append(all, *d)
		return nil
	})
	if err != nil {
		return err
	}
	if asJSON {
		err = p.writeJSON(all)
	} else {
		err = p.write(strings.Join(texts, "\n"))
	}
	for _, i := range sel.Indexes {
		if err == nil && missing[i] {
			err = fmt.Errorf("no dead letter has index %d: `engram-sidecar deadletters list` shows which there are", i)
		}
	}
	return err
}

// letterText is a letter for a person, one topic a line.
func letterText(d *admin.DeadLetter) string {
	var b strings.Builder
	line := func(topic, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", topic, printable(fmt.Sprintf(format, args...)))
	}
	line("letter", "%d, %s of %d bytes, lane %s", d.Index, d.Form, d.Bytes, d.Lane)
	line("memory", "space %s, id %s", orDash(d.Space), orDash(d.ID))
	line("session", "%s, sequence %d", orDash(d.Session), d.Sequence)
	line("accepted", "%s", d.AcceptedAt.Format("2006-01-02T15:04:05.000Z"))
	line("died", "%s, refused %d times", d.DiedAt.Format("2006-01-02T15:04:05.000Z"), d.Attempts)
	line("reason", "%s", d.Reason)
	if d.Superseded {
		line("outdated", "a newer version of this id was accepted since: it is not replayed, drop it")
	}
	return b.String()
}
