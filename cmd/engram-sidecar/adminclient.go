package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

// adminAddress is where a sidecar's operators ask, and how they show who they are.
type adminAddress struct {
	where string
	secure
}

// addAdmin gives a command the flags.
func addAdmin(flags *pflag.FlagSet, a *adminAddress) {
	flags.StringVar(&a.where, "admin", defaultAdmin, "the sidecar's admin address, a URL or host:port")
	addSecure(flags, &a.secure)
}

// adminURL takes a URL, or host:port.
func adminURL(where string) (*url.URL, error) {
	if !strings.Contains(where, "://") {
		where = "http://" + where
	}
	u, err := url.Parse(where)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, usage("--admin: expected http://host:port, https://host:port or host:port, got %q", where)
	}
	return u, nil
}

// base is the address as a URL: https where TLS is asked for, and refused where both are said.
func (a adminAddress) base() (*url.URL, error) {
	u, err := adminURL(a.where)
	if err != nil {
		return nil, err
	}
	if a.secure.tls || a.caFile != "" {
		if strings.HasPrefix(a.where, "http://") && a.where != defaultAdmin {
			return nil, usage("--admin: expected https:// with --tls or --ca-file, got %q", a.where)
		}
		u.Scheme = "https"
	}
	return u, nil
}

// maxStatus bounds what is read of an answer.
const maxStatus = 256 << 20

// get asks for a page; path is split at its slashes, and each part is escaped.
func (a adminAddress) get(ctx context.Context, path ...string) ([]byte, error) {
	return a.getWith(ctx, nil, path...)
}

// getWith asks for a page with a query.
func (a adminAddress) getWith(ctx context.Context, query url.Values, path ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return a.ask(ctx, http.MethodGet, query, nil, path...)
}

// post asks for a change. It waits for as long as that takes.
func (a adminAddress) post(ctx context.Context, body []byte, path ...string) ([]byte, error) {
	return a.ask(ctx, http.MethodPost, nil, body, path...)
}

// postWith asks for a change with a query.
func (a adminAddress) postWith(ctx context.Context, query url.Values, body []byte, path ...string) ([]byte, error) {
	return a.ask(ctx, http.MethodPost, query, body, path...)
}

// ask sends one request. It follows no redirect and asks no proxy: whoever answers at the address is who is meant.
func (a adminAddress) ask(ctx context.Context, method string, query url.Values, text []byte, path ...string) ([]byte, error) {
	page, err := a.base()
	if err != nil {
		return nil, err
	}
	page = page.JoinPath(path...)
	page.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, method, page.String(), bytes.NewReader(text))
	if err != nil {
		return nil, usage("--admin: %w", err)
	}
	client, err := a.client(request)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return nil, fmt.Errorf("no sidecar answers at %s: start one with `engram-sidecar serve`, or name another with --admin", page.Host)
	case errors.Is(err, errNoHTTP):
		return nil, fmt.Errorf("what answers at %s speaks no HTTP: --admin wants the admin address of serve, not the one for gRPC", page.Host)
	case errors.Is(err, errInTheClear):
		return nil, usage("--admin: %w", err)
	case err != nil:
		return nil, fmt.Errorf("asking the sidecar at %s: %w", page.Host, err)
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

// client is an HTTP client for one request, to which it adds what the sidecar wants to see.
func (a adminAddress) client(request *http.Request) (*http.Client, error) {
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if request.URL.Scheme == "https" {
		if transport.TLSClientConfig, err = a.config(); err != nil {
			return nil, err
		}
	} else if token != "" {
		plain(transport, dialLocal)
	} else {
		plain(transport, new(net.Dialer).DialContext)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if request.Method != http.MethodGet {
		request.Header.Set("X-Engram-Sidecar", "1")
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
