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
		{"its own origin", header("Origin", "http://"+f.addr), 200},
		{"its own origin over TLS", header("Origin", "https://"+f.addr), 403},
		{"its own host and another port", header("Origin", "http://127.0.0.1:1"), 403},
		{"its own name for another host", func(r *http.Request) { r.Header.Set("Origin", "http://localhost:"+port) }, 403},
		{"two origins", func(r *http.Request) { r.Header["Origin"] = []string{"http://" + f.addr, "http://evil.example"} }, 403},
		{"a page's image", header("Sec-Fetch-Site", "cross-site"), 403},
		{"a page on another local port", header("Sec-Fetch-Site", "same-site"), 403},
		{"its own page", header("Sec-Fetch-Site", "same-origin"), 200},
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

// TestNoMixOfHostAndOriginPasses tries every pair of a wrong host and a page's marks, and each alone.
func TestNoMixOfHostAndOriginPasses(t *testing.T) {
	f := start(t, sample)
	_, port, _ := net.SplitHostPort(f.addr)
	tried := 0
	for _, host := range []string{f.addr, "evil.example:" + port, "127.0.0.1.evil.example:" + port, "evil.example"} {
		for _, page := range [][2]string{
			{"", ""},
			{"Origin", "http://evil.example:" + port},
			{"Origin", "null"},
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
		} {
			if host == f.addr && page[0] == "" {
				continue // the sidecar's own
			}
			tried++
			got := f.ask(t, "GET", "/api/status", func(r *http.Request) {
				r.Host = host
				if page[0] != "" {
					r.Header.Set(page[0], page[1])
				}
			})
			if got.code != 403 || got.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("host %s with %v: %d %s", host, page, got.code, got.body)
			}
		}
	}
	if tried < 8 {
		t.Errorf("only %d combinations were tried", tried)
	}
}

func TestWhatChangesSomethingNeedsItsHeader(t *testing.T) {
	changed := 0
	mux := http.NewServeMux()
	act(mux, "/api/change", func(http.ResponseWriter, *http.Request) { changed++ })
	ask := func(method, header string) int {
		r := httptest.NewRequest(method, "/api/change", nil)
		if header != "" {
			r.Header.Set(actionHeader, header)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Code
	}
	for _, c := range []struct {
		method, header string
		code           int
	}{
		{"GET", "", 405},
		{"GET", "1", 405},
		{"HEAD", "1", 405},
		{"PUT", "1", 405},
		{"OPTIONS", "1", 405},
		{"POST", "", 403},
		{"POST", "0", 403},
	} {
		if got := ask(c.method, c.header); got != c.code || changed != 0 {
			t.Errorf("%s with %q: code %d, want %d; changed %d times", c.method, c.header, got, c.code, changed)
		}
	}
	if got := ask("POST", "1"); got != 200 || changed != 1 {
		t.Errorf("code %d, changed %d times", got, changed)
	}
}

func TestTheTokenOpensEverythingButHealth(t *testing.T) {
	f := startWith(t, sample, func(s *Server) { s.RequireToken(func(token string) bool { return token == "open sesame" }) })
	bearer := func(v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set("Authorization", v) } }
	cases := []struct {
		name   string
		change func(*http.Request)
		code   int
	}{
		{"none", func(*http.Request) {}, 401},
		{"a wrong one", bearer("Bearer nonsense"), 401},
		{"an empty one", bearer("Bearer "), 401},
		{"another scheme", bearer("Digest open sesame"), 401},
		{"the token", bearer("Bearer open sesame"), 200},
		{"a browser's password", func(r *http.Request) { r.SetBasicAuth("anybody", "open sesame") }, 200},
		{"a browser's user name", func(r *http.Request) { r.SetBasicAuth("open sesame", "") }, 401},
		{"the token from a strange page", func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer open sesame")
			r.Header.Set("Origin", "http://evil.example")
		}, 403},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range []string{"/api/status", "/metrics"} {
				if got := f.ask(t, "GET", path, c.change); got.code != c.code {
					t.Errorf("%s: code %d, want %d: %s", path, got.code, c.code, got.body)
				}
			}
		})
	}
	for path, code := range map[string]int{"/livez": 200, "/readyz": 503, "/nope": 401, "/livez/../metrics": 401} {
		if got := f.ask(t, "GET", path); got.code != code {
			t.Errorf("%s without a token: %d, want %d", path, got.code, code)
		}
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
