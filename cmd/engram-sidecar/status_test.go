package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

func someStatus() admin.Status {
	return admin.Status{
		State: admin.StateServing, Build: admin.Build{Version: "v1"}, Uptime: 3725, Listen: "127.0.0.1:1", DataDir: "/data\x1b[31m",
		Balance:  admin.Balance{Accepted: 10, Delivered: 4, Pending: 3, Dead: 2, Dropped: 1},
		Edge:     admin.Edge{Sessions: 5, Streams: 2, Acked: 9, Refused: map[string]uint64{"sequence": 3, "invalid": 4}},
		Lanes:    []admin.Lane{{Name: "high", Depth: 1, Capacity: 100}, {Name: "normal", Depth: 2}, {Name: "low"}},
		Journal:  admin.Journal{Generations: 2, Bytes: 5 << 20, Quota: 10 << 30, Pressure: 0.25},
		Store:    admin.Store{Kind: "embedded", Up: true, Breaker: "closed", Stored: 4, Rate: 123.4, Retries: 7, Oldest: 0.25},
		Recovery: admin.Recovery{Duration: 0.012, Sessions: 5, Pending: 3, TornTail: 99},
	}
}

// serveAdmin serves a status for the length of the test and returns its address.
func serveAdmin(t *testing.T, s admin.Status) string {
	t.Helper()
	server := admin.New(nil, admin.NewMetrics(), func() admin.Status { return s })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }() // ends at the Shutdown below
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestStatusForAPerson(t *testing.T) {
	want := `sidecar   serving, version v1, up 1h2m5s, gRPC 127.0.0.1:1, data /data[31m
balance   accepted 10 = delivered 4 + pending 3 + dead 2 + dropped 1 + damaged 0 (even)
clients   5 sessions, 2 streams connected, 9 acked since the start, 7 refused
lanes     high 1 of 100, normal 2, low 0
journal   5.0 MiB of 10.0 GiB in 2 generations, pressure 25 %
store     embedded, up, breaker closed, 4 stored, 123/s, 7 retries, oldest waits 250ms
recovery  5 sessions and 3 pending in 12ms, cut 99 bytes of a torn tail
`
	call("", "status", "--admin", serveAdmin(t, someStatus())).wants(t, 0, want, "")
}

func TestStatusOfTrouble(t *testing.T) {
	s := someStatus()
	s.Balance.Damaged = 5
	s.Journal.Failure = "input/output error"
	s.Store = admin.Store{Kind: "engram", Address: "db:1", Breaker: "open", LastError: "connection refused"}
	s.Recovery.Rebuilt = true
	s.Recovery.Damages = []admin.Damage{{Place: "g1 at 7", Session: "abc", First: 3, Last: 5, Reason: "checksum"}}
	got := describe(s)
	for _, want := range []string{
		"(NOT EVEN)\n", "pressure 25 %: input/output error\n", "engram at db:1, DOWN, breaker open, 0/s, 0 retries, last error: connection refused\n",
		"ledger built anew, DAMAGE in 1 places\n", "DAMAGE    g1 at 7: session abc, sequence 3 to 5: checksum\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
	recovering := describe(admin.Status{State: admin.StateRecovering})
	if strings.Count(recovering, "\n") != 1 {
		t.Errorf("while recovering more is told than is known:\n%s", recovering)
	}
}

func TestStatusInJSON(t *testing.T) {
	o := call("", "status", "--json", "--admin", "http://"+serveAdmin(t, someStatus()))
	o.wants(t, 0, `"accepted": 10,`, "")
}

func TestStatusOfSomethingElse(t *testing.T) {
	pages := map[string]http.HandlerFunc{
		"is no sidecar": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"answered 302 Found": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
		},
		"answered 403 Forbidden go away": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			_, _ = w.Write([]byte(`{"error":"go away"}`))
		},
		"asking the sidecar at": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
	}
	for says, page := range pages {
		t.Run(says, func(t *testing.T) {
			server := httptest.NewServer(page)
			defer server.Close()
			call("", "status", "--admin", server.URL).wants(t, 1, "", says)
		})
	}
}

func TestUnits(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 10 << 30: "10.0 GiB", 5 << 50: "5120.0 TiB"} {
		if got := inUnits(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

// TestStatusOfGRPC lets the other end greet as gRPC does, before the request is written and after it: what is said is the same.
func TestStatusOfGRPC(t *testing.T) {
	greeting := []byte("\x00\x00\x18\x04\x00\x00\x00\x00\x00")
	for name, greet := range map[string]func(server net.Conn){
		"before the request": func(server net.Conn) { _, _ = server.Write(greeting) },
		"after it": func(server net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(server))
			_, _ = server.Write(greeting)
		},
	} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{DisableKeepAlives: true}
			plain(transport, func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe() // what is written waits until it is read
				go greet(server)
				t.Cleanup(func() { _ = server.Close() })
				return client, nil
			})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sidecar/", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := transport.RoundTrip(request)
			if err == nil {
				_ = response.Body.Close()
			}
			if !errors.Is(err, errNoHTTP) {
				t.Fatalf("got %v, expected %v", err, errNoHTTP)
			}
		})
	}
}
