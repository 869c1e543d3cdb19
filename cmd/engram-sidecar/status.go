package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

func (p *program) statusCommand() *cobra.Command {
	var at adminAddress
	var asJSON, watch bool
	var every time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the sidecar is doing",
		Long: `status asks the sidecar's admin address and shows where every accepted record is, who is connected, how full
lanes and journal are, how the store is, and what the last start recovered.`,
		Example: `  engram-sidecar status
  engram-sidecar status --watch
  engram-sidecar status --json | jq .balance`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				if every < 100*time.Millisecond || asJSON {
					return usage("--watch: expected an --interval of 100ms or more, and no --json, got %v", every)
				}
				return p.watchStatus(cmd.Context(), at, every)
			}
			return p.status(cmd.Context(), at, asJSON)
		},
	}
	addAdmin(c.Flags(), &at)
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it again and again, until Ctrl-C")
	c.Flags().DurationVar(&every, "interval", 2*time.Second, "how often --watch asks")
	c.Flags().BoolVar(&asJSON, "json", false, "print the JSON of /api/status as it came")
	return c
}

func (p *program) status(ctx context.Context, at adminAddress, asJSON bool) error {
	s, body, err := at.status(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return p.write(escapeControls(string(body)))
	}
	return p.write(describe(s))
}

// status asks for the status, and returns it as it came too.
func (a adminAddress) status(ctx context.Context) (s admin.Status, body []byte, err error) {
	if body, err = a.get(ctx, "api", "status"); err != nil {
		return s, nil, err
	}
	if err := json.Unmarshal(body, &s); err != nil || s.State == "" {
		base, _ := a.base() // it was good a moment ago
		return s, nil, fmt.Errorf("what answers at %s is no sidecar: expected its status as JSON", base)
	}
	return s, body, nil
}

// watchStatus shows the status again and again. On a terminal each takes the place of the one before. A sidecar that does not
// answer is waited for.
func (p *program) watchStatus(ctx context.Context, at adminAddress, every time.Duration) error {
	if _, err := at.base(); err != nil {
		return err
	}
	look := time.NewTicker(every)
	defer look.Stop()
	for {
		s, _, err := at.status(ctx)
		text := describe(s)
		if ctx.Err() != nil {
			return nil
		}
		if code := codeOf(err); code == exitUsage {
			return err
		} else if err != nil {
			text = printable(err.Error()) + "\n"
		}
		if isTerminal(p.stdout) {
			text = "\x1b[H\x1b[2J" + text // home, and clear
		}
		if err := p.write(text + "\n"); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}
