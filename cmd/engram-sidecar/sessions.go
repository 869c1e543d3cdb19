package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func (p *program) sessionsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sessions",
		Short: "List sessions, show one, close one",
		Example: `  engram-sidecar sessions list
  engram-sidecar sessions show 3f0c7a1e-0000-4000-8000-000000000000
  engram-sidecar sessions close 3f0c7a1e-0000-4000-8000-000000000000`,
		Args: cobra.ArbitraryArgs,
		RunE: unknownCommand,
	}
	c.AddCommand(
		p.sessionsSub("list", "List the sessions that are known",
			"list shows every session that is known, open or closed: the last sequence on disk, and what the store does not have yet.",
			"  engram-sidecar sessions list --json | jq '.[] | select(.connected)'", noArguments, p.listSessions),
		p.sessionsSub("show ID", "Show one session", "show tells all that is known of one session.",
			"  engram-sidecar sessions show 3f0c7a1e-0000-4000-8000-000000000000", oneSession, p.showSession),
		p.sessionsSub("close ID", "Close a session for good",
			"close ends a session durably, as its client would: its stream ends, it cannot be resumed, and what was accepted is still delivered.",
			"  engram-sidecar sessions close 3f0c7a1e-0000-4000-8000-000000000000", oneSession, p.closeSession),
	)
	return c
}

// sessionsSub makes one of the commands, which differ in what they do alone.
func (p *program) sessionsSub(use, short, long, example string, args cobra.PositionalArgs,
	run func(context.Context, adminAddress, []string, bool) error,
) *cobra.Command {
	var at adminAddress
	var asJSON bool
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), at, args, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	addAdmin(c.Flags(), &at)
	return c
}

func oneSession(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage("expected one session's id, got %d arguments: see %s --help", len(args), cmd.CommandPath())
	}
	if _, err := wal.ParseSessionID(args[0]); err != nil {
		return usage("%w", err)
	}
	return nil
}

func (p *program) listSessions(ctx context.Context, at adminAddress, _ []string, asJSON bool) error {
	var all []admin.Session
	if err := at.read(ctx, &all, "api", "sessions"); err != nil {
		return err
	}
	if asJSON {
		return p.writeJSON(all)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-36s  %-9s  %-6s  %10s  %8s  %6s  %s\n", "SESSION", "STATE", "LANE", "DURABLE", "PENDING", "DEAD", "SPACE")
	for _, s := range all {
		fmt.Fprintf(&b, "%-36s  %-9s  %-6s  %10d  %8d  %6d  %s\n", printable(s.ID), sessionState(s), printable(s.Priority), s.Durable, s.Pending, s.Dead, printable(s.Space))
	}
	return p.write(b.String())
}

// sessionState says in one word what can be done with a session.
func sessionState(s admin.Session) string {
	if s.State == "active" && !s.Connected {
		return "resumable"
	}
	return printable(s.State)
}

func (p *program) showSession(ctx context.Context, at adminAddress, args []string, asJSON bool) error {
	var s admin.Session
	if err := at.read(ctx, &s, "api", "sessions", args[0]); err != nil {
		return err
	}
	if asJSON {
		return p.writeJSON(s)
	}
	connected := "no stream"
	if s.Connected {
		connected = fmt.Sprintf("a stream is connected, %d wait", s.Waiting)
	}
	return p.write(fmt.Sprintf("session   %s\nspace     %s\npriority  %s\nstate     %s, %s\nsequence  %d on disk, %d accepted\nstore     %d pending, %d dead\n",
		printable(s.ID), printable(s.Space), printable(s.Priority), sessionState(s), connected, s.Durable, s.Accepted, s.Pending, s.Dead))
}

func (p *program) closeSession(ctx context.Context, at adminAddress, args []string, asJSON bool) error {
	body, err := at.post(ctx, nil, "api", "sessions", args[0], "close")
	if err != nil {
		return err
	}
	if asJSON {
		return p.write(escapeControls(string(body)))
	}
	var closed struct{ Last uint64 }
	if err := json.Unmarshal(body, &closed); err != nil {
		return fmt.Errorf("what answers is no sidecar: expected JSON: %w", err)
	}
	return p.write(fmt.Sprintf("closed at sequence %d\n", closed.Last))
}

// read gets a page of JSON.
func (a adminAddress) read(ctx context.Context, into any, path ...string) error {
	body, err := a.get(ctx, path...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("what answers at %s is no sidecar: expected JSON: %w", a.where, err)
	}
	return nil
}
