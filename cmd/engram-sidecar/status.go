package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

func (p *program) statusCommand() *cobra.Command {
	var where string
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
			return p.status(cmd.Context(), where, asJSON)
		},
	}
	c.Flags().StringVar(&where, "admin", defaultAdmin, "the sidecar's admin address, a URL or host:port")
	c.Flags().BoolVar(&asJSON, "json", false, "print the JSON of /api/status as it came")
	return c
}

func (p *program) status(ctx context.Context, where string, asJSON bool) error {
	base, err := adminURL(where)
	if err != nil {
		return err
	}
	body, err := fetch(ctx, base.JoinPath("api", "status").String())
	if err != nil {
		return err
	}
	var s admin.Status
	if err := json.Unmarshal(body, &s); err != nil || s.State == "" {
		return fmt.Errorf("what answers at %s is no sidecar: expected its status as JSON", base)
	}
	if asJSON {
		return p.write(escapeControls(string(body)))
	}
	return p.write(describe(s))
}

// adminURL takes a URL, or host:port.
func adminURL(where string) (*url.URL, error) {
	if !strings.Contains(where, "://") {
		where = "http://" + where
	}
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, usage("--admin: expected http://host:port or host:port, got %q", where)
	}
	return u, nil
}

// maxStatus bounds what is read of an answer.
const maxStatus = 16 << 20

// fetch gets a page of the admin server. It follows no redirect and asks no proxy: the sidecar is on this machine.
func fetch(ctx context.Context, page string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return nil, usage("--admin: %w", err)
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("no sidecar answers at %s: start one with `engram-sidecar serve`, or name another with --admin", request.URL.Host)
	}
	if err != nil {
		return nil, fmt.Errorf("asking the sidecar for its status: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", page, err)
	}
	if response.StatusCode != http.StatusOK {
		var problem admin.Problem
		_ = json.Unmarshal(body, &problem) // without one the status line has to do
		return nil, fmt.Errorf("%s answered %s %s", page, response.Status, problem.Error)
	}
	return body, nil
}
