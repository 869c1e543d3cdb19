package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

func (p *program) statusCommand() *cobra.Command {
	var at adminAddress
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the sidecar is doing",
		Long: `status asks the sidecar's admin address and shows where every accepted record is, who is connected, how full
lanes and journal are, how the store is, and what the last start recovered.`,
		Example: `  engram-sidecar status
  engram-sidecar status --json | jq .balance`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.status(cmd.Context(), at, asJSON)
		},
	}
	addAdmin(c.Flags(), &at)
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
