package admin

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sample is a status with every field set to something that can be told from the others.
func sample() Status {
	return Status{
		State:     StateServing,
		Build:     Build{Version: "v1.2.3", Revision: "abc", GoVersion: "go1.26"},
		StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Uptime:    61.5, Listen: "127.0.0.1:50051", Admin: "127.0.0.1:50052", DataDir: "/data",
		Balance:  Balance{Accepted: 100, Delivered: 60, Pending: 25, Dead: 8, Dropped: 4, Damaged: 3},
		Edge:     Edge{Sessions: 5, Streams: 2, Conns: 6, Expired: 11, Panics: 13, Acked: 90, Refused: map[string]uint64{"sequence": 7}},
		Lanes:    []Lane{{"high", 1, 10}, {"normal", 20, 0}, {"low", 4, 30}},
		Journal:  Journal{Generations: 3, Bytes: 4096, Quota: 8192, Pressure: 0.5, LastIndex: 100, Commits: 12},
		Store:    Store{Kind: "embedded", Up: true, Breaker: "closed", Stored: 60, InFlight: 14, Parked: 15, Buried: 16, Retries: 9, Rate: 12.5, Oldest: 1.25},
		Recovery: Recovery{Duration: 0.25, Sessions: 5, Pending: 25, TornTail: 17, Lost: 18, Damages: []Damage{{Place: "index 4", Session: "s", First: 1, Last: 2, Reason: "rot"}}},
	}
}

type fixture struct {
	*Server
	metrics *Metrics
	addr    string
}

// start serves a sample status on a loopback port for the length of the test.
func start(t *testing.T, status func() Status) fixture {
	t.Helper()
	return startWith(t, status, func(*Server) {})
}

// startWith lets change alter the server before it serves.
func startWith(t *testing.T, status func() Status, change func(*Server)) fixture {
	t.Helper()
	m := NewMetrics()
	s := New(nil, m, status)
	change(s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }() // ends at the Shutdown below
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return fixture{s, m, l.Addr().String()}
}

type answer struct {
	code   int
	body   string
	header http.Header
}

// ask sends one request; change may alter it first.
func (f fixture) ask(t *testing.T, method, path string, change ...func(*http.Request)) answer {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+f.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(req)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(body), resp.Header}
}

func TestHealthFollowsTheLife(t *testing.T) {
	f := start(t, sample)
	steps := []struct {
		name string
		do   func()
		code int
		says string
	}{
		{"before recovery is done", func() {}, 503, "recovering"},
		{"serving", f.SetReady, 200, "ok"},
		{"a clean stop has begun", func() { f.SetNotReady("stopping") }, 503, "stopping"},
	}
	for _, step := range steps {
		step.do()
		if got := f.ask(t, "GET", "/readyz"); got.code != step.code || !strings.Contains(got.body, step.says) {
			t.Errorf("%s: /readyz = %d %q, want %d with %q", step.name, got.code, got.body, step.code, step.says)
		}
		if got := f.ask(t, "GET", "/livez"); got.code != 200 || got.body != "ok\n" {
			t.Errorf("%s: /livez = %d %q, want 200 ok", step.name, got.code, got.body)
		}
	}
}

func TestStatusTravelsWhole(t *testing.T) {
	f := start(t, sample)
	got := f.ask(t, "GET", "/api/status")
	if got.code != 200 || got.header.Get("Content-Type") != "application/json" || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("answer %d %v", got.code, got.header)
	}
	var s Status
	if err := json.Unmarshal([]byte(got.body), &s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), s); diff != "" {
		t.Errorf("status changed on the way (-sent +got):\n%s", diff)
	}
	if !s.Balance.Holds() {
		t.Error("an even balance is said not to hold")
	}
	s.Balance.Pending++
	if s.Balance.Holds() {
		t.Error("an uneven balance is said to hold")
	}
}

func TestStatusWithANumberJSONCannotSay(t *testing.T) {
	f := start(t, func() Status {
		s := sample()
		s.Journal.Pressure = nan()
		return s
	})
	got := f.ask(t, "GET", "/api/status")
	if got.code != 500 || !json.Valid([]byte(got.body)) {
		t.Errorf("answer %d %q, want 500 and JSON", got.code, got.body)
	}
}

func nan() float64 {
	var zero float64
	return zero / zero
}

func TestRefusalsAreJSON(t *testing.T) {
	f := start(t, sample)
	cases := []struct {
		name, method, path string
		code               int
	}{
		{"unknown page", "GET", "/nope", 404},
		{"a POST", "POST", "/api/status", 405},
		{"a DELETE", "DELETE", "/livez", 405},
		{"CORS preflight", "OPTIONS", "/api/status", 405},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := f.ask(t, c.method, c.path)
			var p Problem
			if err := json.Unmarshal([]byte(got.body), &p); err != nil || p.Error == "" {
				t.Errorf("body %q is no problem: %v", got.body, err)
			}
			if got.code != c.code {
				t.Errorf("code %d, want %d", got.code, c.code)
			}
			if c.code == 405 && got.header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow %q", got.header.Get("Allow"))
			}
			if v := got.header.Get("Access-Control-Allow-Origin"); v != "" {
				t.Errorf("a CORS header was sent: %q", v)
			}
		})
	}
}

func TestServeSaysWhereItFailed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	err = New(nil, NewMetrics(), sample).Serve(l)
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("error %v does not name %s", err, l.Addr())
	}
}

func TestShutdownCutsOffWhatHangs(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	m := NewMetrics()
	s := New(nil, m, sample)
	s.http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-release })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, asked := make(chan error, 1), make(chan struct{})
	go func() { served <- s.Serve(l) }() // ends at the Shutdown below
	go func() {                          // ends when its request is cut off
		defer close(asked)
		if resp, err := http.Get("http://" + l.Addr().String() + "/api/status"); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("a request was cut off without a word")
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	<-asked
	close(release)
}
