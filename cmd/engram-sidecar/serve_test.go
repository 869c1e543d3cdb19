package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

// running is a sidecar that runs in this process.
type running struct {
	t       *testing.T
	address string // gRPC
	admin   string
	log     []map[string]any // what it said before it served
	cancel  context.CancelFunc
	done    chan int
	hup     chan os.Signal
	quiet   chan struct{} // closed when all it said was read

	mu    sync.Mutex
	later strings.Builder // what it said since
}

// serveHere runs `serve` on free ports until the test ends or stop is called.
func serveHere(t *testing.T, dir string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, cancel: cancel, done: make(chan int, 1), quiet: make(chan struct{}), hup: make(chan os.Signal)}
	said, stderr := io.Pipe()
	p := program{stdin: strings.NewReader(""), stdout: io.Discard, stderr: stderr, environ: []string{"HOME=" + dir}}
	p.hangups = func() (<-chan os.Signal, func()) { return r.hup, func() {} }
	args = append([]string{"serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)
	go func() { // ends with the sidecar; stop waits for it
		r.done <- p.run(ctx, args)
		_ = stderr.Close()
	}()
	t.Cleanup(func() { r.stop() })
	r.await(bufio.NewScanner(said))
	return r
}

// await reads the log until it says that the sidecar serves, and leaves the rest to a goroutine.
func (r *running) await(lines *bufio.Scanner) {
	r.t.Helper()
	for lines.Scan() {
		line := map[string]any{}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			line["what is no JSON"] = lines.Text()
		}
		r.log = append(r.log, line)
		if line["@message"] == "serving" {
			r.address, r.admin = fmt.Sprint(line["grpc"]), fmt.Sprint(line["admin"])
			go r.listen(lines) // ends with the log, which ends with the sidecar; ended waits for it
			return
		}
	}
	close(r.quiet)
	r.t.Fatalf("it ended with %d before it served: %v", r.ended(), r.log)
}

func (r *running) listen(lines *bufio.Scanner) {
	defer close(r.quiet)
	for lines.Scan() {
		r.mu.Lock()
		_, _ = fmt.Fprintln(&r.later, lines.Text()) // a builder takes everything
		r.mu.Unlock()
	}
}

// stop ends it and returns its exit code.
func (r *running) stop() int {
	r.cancel()
	return r.ended()
}

// ended waits for its end and returns its exit code. It may be called again.
func (r *running) ended() int {
	select {
	case code := <-r.done:
		r.done <- code
		<-r.quiet
		return code
	case <-time.After(time.Minute):
		panic("the sidecar has not ended within a minute") // with the stacks of all goroutines
	}
}

// said is what it logged since it served.
func (r *running) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.later.String()
}

func (r *running) status() admin.Status {
	r.t.Helper()
	var s admin.Status
	o := call("", "status", "--json", "--admin", r.admin)
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil {
		r.t.Fatalf("status: %v: %+v", err, o)
	}
	if !s.Balance.Holds() {
		r.t.Errorf("the balance is not even: %+v", s.Balance)
	}
	return s
}

func TestServeObserveRecallStatus(t *testing.T) {
	dir := t.TempDir()
	r := serveHere(t, dir)
	if len(r.log) == 0 || !strings.Contains(fmt.Sprint(r.log[len(r.log)-1]["recovered"]), "new data directory") {
		t.Errorf("the line at the start: %v", r.log)
	}
	call("the kettle boils\nrain on the roof\n", "observe", "--addr", r.address, "--drain").wants(t, 0, "sent 2, acked 2", "")
	call("", "recall", "--addr", r.address, "-k", "1", "boiling kettle").wants(t, 0, "the kettle boils\n", "")
	call("", "recall", "--addr", r.address, "--committed", "-k", "1", "roof rain").wants(t, 0, "rain on the roof\n", "")
	s := r.status()
	if s.State != admin.StateServing || s.Balance.Accepted != 2 || s.Balance.Delivered != 2 || s.Store.Stored != 2 || s.Edge.Acked != 2 ||
		!s.Store.Up || s.Listen != r.address || len(s.Lanes) != 3 || s.Journal.Bytes == 0 || s.Journal.LastIndex < 3 {
		t.Errorf("status %+v", s)
	}
	call("", "status", "--admin", r.admin).wants(t, 0, "accepted 2 = delivered 2 + pending 0", "")
	if code := r.stop(); code != 0 {
		t.Fatalf("stopped with %d: %s", code, r.later.String())
	}

	r = serveHere(t, dir, "--strict")
	call("", "recall", "--addr", r.address, "-k", "1", "boiling kettle").wants(t, 0, "the kettle boils\n", "")
	if s := r.status(); s.Balance.Accepted != 2 || s.Balance.Pending != 0 || s.Recovery.Rebuilt || len(s.Recovery.Damages) != 0 {
		t.Errorf("after a restart: %+v", s)
	}
}

func TestWhatIsPendingOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	nowhere := "engram://" + closedAddress(t)
	r := serveHere(t, dir, "--store", nowhere, "--lane-capacity", "10,20,0")
	o := call("one\ntwo\nthree\n", "observe", "--addr", r.address, "--keep-open", "--json")
	var sum struct{ Session string }
	if err := json.Unmarshal([]byte(o.stdout), &sum); err != nil || o.code != 0 {
		t.Fatalf("%+v, %v", o, err)
	}
	call("", "recall", "--addr", r.address, "-k", "1", "two").wants(t, 0, "two\n", "partial: store-unavailable")
	if s := r.status(); s.Balance.Pending != 3 || s.Lanes[1].Depth != 3 || s.Lanes[1].Capacity != 20 || s.Edge.Sessions != 1 || s.Store.Kind != "engram" {
		t.Errorf("status %+v", s)
	}
	if code := r.stop(); code != 0 {
		t.Fatalf("stopped with %d: %s", code, r.later.String())
	}

	r = serveHere(t, dir) // the operator has changed the store
	call("one\ntwo\nthree\nfour\n", "observe", "--addr", r.address, "--session", sum.Session, "--from-start", "--drain").wants(t, 0, "3 observations left out", "")
	if s := r.status(); s.Balance.Accepted != 4 || s.Balance.Delivered != 4 || s.Recovery.Pending != 3 || s.Recovery.Sessions != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestServeOnASocket(t *testing.T) {
	dir, socket := t.TempDir(), "unix://"+filepath.Join(t.TempDir(), "s.sock")
	r := serveHere(t, dir, "--listen", socket)
	if r.address != socket {
		t.Errorf("it serves on %s", r.address)
	}
	info, err := os.Stat(strings.TrimPrefix(socket, "unix://"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
	call("by socket\n", "observe", "--addr", socket).wants(t, 0, "acked 1", "")
	call("", "serve", "--data-dir", t.TempDir(), "--listen", socket, "--admin-listen", "127.0.0.1:0").wants(t, 1, "", "listen: "+socket+" is in use")
}

func TestServeRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	r := serveHere(t, dir)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	newer := newerDir(t)
	cases := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"gRPC port in use", []string{"--listen", taken.Addr().String()}, 1, "engram-sidecar: listen: " + taken.Addr().String() + " is in use by another process"},
		{"admin port in use", []string{"--admin-listen", taken.Addr().String()}, 1, "admin-listen: " + taken.Addr().String() + " is in use"},
		{"an address of another machine", []string{"--listen", "192.0.2.1:0", "--insecure-listen"}, 78, "listen: cannot listen on 192.0.2.1:0"},
		{"a socket in no directory", []string{"--listen", "unix:///nowhere/at/all"}, 78, "cannot listen on unix:///nowhere/at/all"},
		{"a socket where a file is", []string{"--listen", "unix://" + file}, 1, "is there and is no socket"},
		{"data directory in use", []string{"--data-dir", dir}, 75, dir + " is held by process"},
		{"a file for a data directory", []string{"--data-dir", file}, 78, file},
		{"a newer version's directory", []string{"--data-dir", newer}, 78, newer},
		{"a bad setting", []string{"--log-level", "loud"}, 78, "log-level"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fresh := filepath.Join(t.TempDir(), "data")
			args := append([]string{"serve", "--data-dir", fresh, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, c.args...)
			o := call("", args...)
			o.wants(t, c.code, "", c.says)
			if strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("not one line: %q", o.stderr)
			}
			if _, err := os.Stat(fresh); err == nil {
				t.Error("a data directory was made all the same")
			}
		})
	}
	if code := r.stop(); code != 0 {
		t.Errorf("the one that held the directory stopped with %d", code)
	}
}

// newerDir is a data directory that says it was written by a version to come.
func newerDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	r := serveHere(t, dir)
	r.stop()
	path := filepath.Join(dir, "FORMAT")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "format 1 ", "format 99 ", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// closedAddress is one where nobody listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
