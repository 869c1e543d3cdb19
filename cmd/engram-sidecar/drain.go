package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

func (p *program) drainCommand() *cobra.Command {
	var at adminAddress
	var off, stop, wait, asJSON bool
	c := &cobra.Command{
		Use:   "drain",
		Short: "Let the sidecar take no new session, and end when it is empty if you like",
		Long: `drain makes a lame duck of the running sidecar: /readyz and gRPC's health say that it is not ready, and new sessions are
refused, while streams, sessions that are resumed, other writes and recalls go on, and what is pending is delivered. It is
empty when no stream is connected and nothing is pending. A restart forgets that it was draining.`,
		Example: `  engram-sidecar drain
  engram-sidecar drain --stop --wait
  engram-sidecar drain --off`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if off && (stop || wait) {
				return usage("--off: expected it alone: with --stop or --wait there would be nothing to wait for")
			}
			return p.drain(cmd.Context(), at, off, stop, wait, asJSON)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.BoolVar(&stop, "stop", false, "the process ends when it is empty")
	f.BoolVar(&wait, "wait", false, "wait until it is empty")
	f.BoolVar(&off, "off", false, "take new sessions again")
	f.BoolVar(&asJSON, "json", false, "print a JSON object")
	addAdmin(f, &at)
	return c
}

func (p *program) drain(ctx context.Context, at adminAddress, off, stop, wait, asJSON bool) error {
	query := url.Values{}
	if off {
		query.Set("off", "")
	}
	if stop {
		query.Set("stop", "")
	}
	body, err := at.postWith(ctx, query, nil, "api", "drain")
	if err != nil {
		return err
	}
	d, err := readDrained(body)
	for err == nil && wait && !d.Empty {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not waited for: %d streams are connected, %d observations are pending; it goes on draining", d.Streams, d.Pending)
		case <-time.After(200 * time.Millisecond):
		}
		if body, err = at.get(ctx, "api", "drained"); err != nil {
			if stop {
				break // it has ended, as it was told to
			}
			return err
		}
		d, err = readDrained(body)
	}
	if err != nil && !stop {
		return err
	}
	if asJSON {
		return p.writeJSON(d)
	}
	return p.write(drainedText(d, err != nil))
}

func readDrained(body []byte) (d admin.Drained, err error) {
	if err := json.Unmarshal(body, &d); err != nil {
		return d, fmt.Errorf("what answers is no sidecar: expected JSON: %w", err)
	}
	return d, nil
}

func drainedText(d admin.Drained, ended bool) string {
	switch {
	case ended:
		return "drained, and ended\n"
	case !d.Draining:
		return "not draining: new sessions are taken\n"
	case d.Empty:
		return "drained: nothing is connected, nothing is pending\n"
	default:
		return fmt.Sprintf("draining: %d streams connected, %d observations pending\n", d.Streams, d.Pending)
	}
}
