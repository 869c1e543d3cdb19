package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

// settling is replay or drop.
type settling struct {
	name, short, long string
	done              string // the outcome that is wanted
}

var (
	replaying = settling{
		name: "replay", short: "Hand dead letters to the store once more", done: admin.OutcomeDelivered,
		long: `replay hands dead letters to the store as they were accepted, once what the store did not like about them is mended
there. What it takes is delivered; what it refuses again stays a dead letter, with its newest words. One of which a newer
version was accepted since is left alone, and said.

It ends with 1 where one of those that were named is not delivered.`,
	}
	dropping = settling{
		name: "drop", short: "Give dead letters up", done: admin.OutcomeDropped,
		long: `drop gives dead letters up: they are gone, and counted as dropped. journal export --dead prints what they say before.`,
	}
)

func (p *program) settleLettersCommand(how settling) *cobra.Command {
	var f letterFlags
	c := &cobra.Command{
		Use:   how.name + " [INDEX...]",
		Short: how.short,
		Long:  how.long,
		Example: fmt.Sprintf(`  engram-sidecar deadletters %[1]s 4711 4712
  engram-sidecar deadletters %[1]s --reason "dimension"
  engram-sidecar deadletters %[1]s --all --data-dir /var/lib/engram-sidecar`, how.name),
		Args: cobra.ArbitraryArgs,
	}
	f.add(c)
	f.addFilters(c)
	f.dataDir.addStore(c)
	c.Flags().BoolVar(&f.sel.All, "all", false, "all dead letters")
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if f.sel.Indexes, err = indexes(args); err != nil {
			return err
		}
		if f.sel.Empty() && !f.sel.All {
			return usage("which dead letters: give indexes as list prints them, --id, --space, --reason, or --all")
		}
		if err := f.sel.Validate(); err != nil {
			return usage("%w", err)
		}
		from, err := f.source(p, cmd)
		if err != nil {
			return err
		}
		out, err := from.settle(cmd.Context(), how, f.sel)
		if err != nil {
			return err
		}
		return p.tellSettled(how, out, f.asJSON)
	}
	return c
}

// tellSettled prints what became of each letter, what did not go well a line each. It is an error where one of them did not.
func (p *program) tellSettled(how settling, out admin.LetterResults, asJSON bool) error {
	done, failed := 0, 0
	var b strings.Builder
	for _, r := range out.Results {
		if r.Outcome == how.done {
			done++
			continue
		}
		failed++
		fmt.Fprintln(&b, printable(fmt.Sprintf("%d id %s %s%s", r.Index, orDash(r.ID), r.Outcome, after(": ", r.Message))))
	}
	var err error
	switch {
	case asJSON:
		err = p.writeJSON(out)
	case len(out.Results) == 0:
		err = p.write("no dead letters\n")
	default:
		fmt.Fprintf(&b, "%s %d of %d\n", how.done, done, len(out.Results))
		err = p.write(b.String())
	}
	switch {
	case err != nil:
		return err
	case out.Error != "":
		return fmt.Errorf("%s ended early: %s", how.name, out.Error)
	case failed > 0:
		return fmt.Errorf("%d of %d dead letters were not %s", failed, len(out.Results), how.done)
	}
	return nil
}
