package admin

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestGuardRefusesWebPages(t *testing.T) {
	f := start(t, sample)
	_, port, _ := net.SplitHostPort(f.addr)
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	header := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	cases := []struct {
		name   string
		change func(*http.Request)
		code   int
	}{
		{"its address", host("127.0.0.1:" + port), 200},
		{"localhost", host("localhost:" + port), 200},
		{"LOCALHOST", host("LOCALHOST:" + port), 200},
		{"IPv6 loopback", host("[::1]:" + port), 200},
		{"typed into a browser", header("Sec-Fetch-Site", "none"), 200},
		{"a rebound name", host("evil.example:" + port), 403},
		{"a rebound name without port", host("evil.example"), 403},
		{"localhost as a prefix", host("localhost.evil.example:" + port), 403},
		{"another port", host("127.0.0.1:1"), 403},
		{"no port", host("127.0.0.1"), 403},
		{"somebody else's address", host("192.0.2.7:" + port), 403},
		{"a page's fetch", header("Origin", "http://evil.example"), 403},
		{"an opaque origin", header("Origin", "null"), 403},
		{"its own origin", header("Origin", "http://"+f.addr), 403},
		{"a page's image", header("Sec-Fetch-Site", "cross-site"), 403},
		{"a page on another local port", header("Sec-Fetch-Site", "same-site"), 403},
		{"its own page", header("Sec-Fetch-Site", "same-origin"), 403},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range []string{"/api/status", "/metrics", "/livez"} {
				if got := f.ask(t, "GET", path, c.change); got.code != c.code {
					t.Errorf("%s: code %d, want %d: %s", path, got.code, c.code, got.body)
				}
			}
		})
	}
}

func TestHostOfAWideListener(t *testing.T) {
	cases := []struct {
		name, local, host string
		want              bool
	}{
		{"a probe by the pod's address", "10.1.2.3:50052", "10.1.2.3:50052", true},
		{"the same in IPv6 form", "[::ffff:10.1.2.3]:50052", "10.1.2.3:50052", true},
		{"the service's name", "10.1.2.3:50052", "sidecar.default.svc:50052", false},
		{"another address", "10.1.2.3:50052", "10.1.2.4:50052", false},
		{"port 80 left out", "10.1.2.3:80", "10.1.2.3", true},
		{"not an address at all", "@", "127.0.0.1:50052", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/livez", nil)
			r.Host = c.host
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr(c.local)))
			if got := hostAllowed(r); got != c.want {
				t.Errorf("host %q on %q: %v, want %v", c.host, c.local, got, c.want)
			}
		})
	}
	if hostAllowed(httptest.NewRequest("GET", "/livez", nil)) {
		t.Error("a request without a known local address passed")
	}
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func TestQuoteIsShortAndHarmless(t *testing.T) {
	if got := quote("a\x1b[31m\n"); got != `"a\x1b[31m\n"` {
		t.Errorf("quote = %s", got)
	}
	if got := quote(strings.Repeat("x", 5000)); len(got) != 130 {
		t.Errorf("quote of 5000 bytes has %d", len(got))
	}
}
