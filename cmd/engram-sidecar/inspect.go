package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/recovery"
)

func (p *program) inspectCommand() *cobra.Command {
	var where dataDirFlags
	var asJSON, records bool
	c := &cobra.Command{
		Use:   "inspect",
		Short: "Show what is in a data directory",
		Long: `inspect shows whose journal it is, what became of all that was accepted, each generation, and what a start would find
damaged. It changes nothing, and ends with 0 whatever it finds: verify judges.`,
		Example: `  engram-sidecar journal inspect
  engram-sidecar journal inspect --records | grep pending
  engram-sidecar journal inspect --json | jq .balance`,
		Args: noArguments,
	}
	where.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object; with --records one for each record, a line each")
	c.Flags().BoolVar(&records, "records", false, "list every record: its place, whose it is and what became of it, not what it says")
	c.RunE = p.onInspection(&where, func(i *recovery.Inspection, dir string) error {
		switch {
		case records:
			return p.listRecords(i, asJSON)
		case asJSON:
			return p.writeJSON(foundOf(i, dir))
		default:
			return p.write(overview(i, dir))
		}
	})
	return c
}

// overview shows a person what was found: one topic a line.
func overview(i *recovery.Inspection, dir string) string {
	var b strings.Builder
	line := func(topic, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", topic, printable(fmt.Sprintf(format, args...)))
	}
	use, atMost := "stopped", ""
	if i.Holder != "" {
		use, atMost = "in use by "+i.Holder+": its journal alone was read", " at most"
	}
	line("directory", "%s, %s", dir, use)
	line("journal", "%s, format %d, %d records and %s in %d generations, read in %v", uuid.UUID(i.Format.Journal), i.Format.Version,
		i.Records, inUnits(uint64(i.Bytes)), i.Generations, i.Took.Round(time.Millisecond)) //nolint:gosec // a size
	line("balance", "accepted %d = delivered %d + pending %d%s + dead %d + dropped %d + damaged %d", i.Balance.Accepted,
		i.Balance.Delivered, i.Balance.Pending, atMost, i.Balance.Dead, i.Balance.Dropped, i.Balance.Damaged)
	line("sessions", "%d can be resumed, or were closed not long ago", i.Sessions)
	if i.Ledger != nil {
		line("ledger", "a start builds it anew: %v", i.Ledger)
	}
	for _, s := range i.Segments {
		line("generation", "%d: %d records, index %d to %d, %s%s", s.Number, s.Records, s.First, s.Last,
			inUnits(uint64(s.Bytes)), damagedIn(s)) //nolint:gosec // a size
	}
	if i.Torn != nil {
		line("torn", "%s", strings.TrimPrefix(tornLine(i), "torn   "))
	}
	for _, d := range i.Damages {
		line("DAMAGE", "%s", damageLine(d))
	}
	return b.String()
}

func damagedIn(s recovery.Segment) string {
	if s.Damages == 0 {
		return ""
	}
	return fmt.Sprintf(", DAMAGED in %d places", s.Damages)
}
