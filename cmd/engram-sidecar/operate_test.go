package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

// kept observes one line and leaves the session open.
func (r *running) kept(line string, args ...string) string {
	r.t.Helper()
	o := call(line+"\n", append([]string{"observe", "--addr", r.address, "--keep-open", "--json"}, args...)...)
	var sum struct{ Session string }
	if err := json.Unmarshal([]byte(o.stdout), &sum); err != nil || o.code != 0 {
		r.t.Fatalf("%+v, %v", o, err)
	}
	return sum.Session
}

// page asks the admin address.
func (r *running) page(path string) int {
	r.t.Helper()
	resp, err := http.Get("http://" + r.admin + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// until waits for something to come true.
func (r *running) until(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not within a minute: %s", what, r.said())
		}
	}
}

func TestSessionsAreListedShownAndClosed(t *testing.T) {
	dir := t.TempDir()
	r := serveHere(t, dir)
	id := r.kept("one", "--space", "notes", "--priority", "high")
	call("", "sessions", "list", "--admin", r.admin).wants(t, 0, id+"  resumable  high             1", "")
	call("", "sessions", "show", id, "--admin", r.admin).wants(t, 0, "space     notes\npriority  high\nstate     resumable, no stream\nsequence  1 on disk", "")
	call("", "sessions", "close", id, "--admin", r.admin).wants(t, 0, "closed at sequence 1\n", "")
	call("", "sessions", "close", id, "--admin", r.admin).wants(t, 1, "", "closed")
	call("", "sessions", "close", "3f0c7a1e-0000-4000-8000-000000000000", "--admin", r.admin).wants(t, 1, "", "404")
	call("", "sessions", "show", "3f0c7a1e-0000-4000-8000-000000000000", "--admin", r.admin).wants(t, 1, "", "is not known")
	call("two\n", "observe", "--addr", r.address, "--session", id).wants(t, 1, "", "was closed")
	if code := r.stop(); code != 0 {
		t.Fatalf("stopped with %d: %s", code, r.said())
	}
	r = serveHere(t, dir) // the close is durable
	call("two\n", "observe", "--addr", r.address, "--session", id).wants(t, 1, "", "was closed")
	var all []admin.Session
	if err := json.Unmarshal([]byte(call("", "sessions", "list", "--json", "--admin", r.admin).stdout), &all); err != nil || len(all) != 1 || all[0].State != "closed" {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestADrainingSidecarGoesOnWithWhatItHas(t *testing.T) {
	r := serveHere(t, t.TempDir())
	id := r.kept("one")
	call("", "drain", "--admin", r.admin).wants(t, 0, "drain", "")
	if ready, live := r.page("/readyz"), r.page("/livez"); ready != 503 || live != 200 {
		t.Errorf("/readyz %d, /livez %d", ready, live)
	}
	if s := r.status(); s.State != admin.StateDraining {
		t.Errorf("state %s", s.State)
	}
	call("x\n", "observe", "--addr", r.address, "--retry-for", "1ms").wants(t, 1, "", "takes no new session")
	call("two\n", "observe", "--addr", r.address, "--session", id, "--keep-open").wants(t, 0, "acked 1", "")
	call("", "recall", "--addr", r.address, "-k", "1", "two").wants(t, 0, "two\n", "")
	call("", "drain", "--off", "--admin", r.admin).wants(t, 0, "not draining", "")
	if ready := r.page("/readyz"); ready != 200 {
		t.Errorf("/readyz %d", ready)
	}
	call("x\n", "observe", "--addr", r.address).wants(t, 0, "acked 1", "")
	call("", "drain", "--stop", "--wait", "--admin", r.admin).wants(t, 0, "drained", "")
	if code := r.ended(); code != 0 {
		t.Errorf("it ended with %d: %s", code, r.said())
	}
}

func TestAGetDrainsNothing(t *testing.T) {
	r := serveHere(t, t.TempDir())
	for _, path := range []string{"/api/drain", "/api/drain?stop", "/api/sessions/3f0c7a1e-0000-4000-8000-000000000000/close"} {
		if code := r.page(path); code != 405 {
			t.Errorf("GET %s: %d", path, code)
		}
		resp, err := http.Post("http://"+r.admin+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 403 {
			t.Errorf("POST %s without the header: %d", path, resp.StatusCode)
		}
	}
	if s := r.status(); s.State != admin.StateServing {
		t.Errorf("state %s", s.State)
	}
}

func TestHangupReadsAgain(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.sign("first")
	tokens := secretFile(t, "tokens", "agent "+agentToken+" all\n")
	file := filepath.Join(t.TempDir(), "config.yaml")
	settings := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings("log-level: info\nmax-episode-bytes: 64KiB\n")
	r := serveHere(t, t.TempDir(), "--config", file, "--tls-cert", cert, "--tls-key", key, "--token-file", tokens)
	hangup := func(says string) {
		t.Helper()
		r.hup <- syscall.SIGHUP
		r.until(says, func() bool { return strings.Contains(r.said(), says) })
	}
	observe := func(line, token string) outcome {
		return call(line+"\n", "observe", "--addr", r.address, "--ca-file", a.file, "--token-file", secretFile(t, "t", token))
	}
	long := strings.Repeat("word ", 4<<10)
	observe(long, agentToken).wants(t, 0, "acked 1", "")
	if shown(t, r.address) != "first" || strings.Contains(r.said(), "session attached") {
		t.Error("before")
	}

	settings("log-level: debug\nmax-episode-bytes: 16KiB\ndefault-space: other\n")
	if err := os.WriteFile(tokens, []byte("ops "+opsToken+" all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	next, nextKey := a.sign("second")
	for from, to := range map[string]string{next: cert, nextKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	hangup(`hold from the next start on","@module":"engram-sidecar","@timestamp"`)
	if !strings.Contains(r.said(), `"settings":["default-space"]`) || !strings.Contains(r.said(), `"changed":["max-episode-bytes","log-level"]`) {
		t.Errorf("what was changed: %s", r.said())
	}
	observe("x", agentToken).wants(t, 1, "", "wants a token")
	observe("x", opsToken).wants(t, 0, "acked 1", "")
	observe(long, opsToken).wants(t, 1, "", "at most 16384 bytes")
	if got := shown(t, r.address); got != "second" {
		t.Errorf("it shows the certificate of %s", got)
	}
	if !strings.Contains(r.said(), "session attached") {
		t.Error("the level did not change")
	}

	settings("log-levell: warn\n")
	hangup("the settings were not read again")
	if err := os.Chmod(tokens, 0o644); err != nil {
		t.Fatal(err)
	}
	settings("log-level: debug\n")
	hangup("those of before go on to hold")
	observe("x", opsToken).wants(t, 0, "acked 1", "")
}

func TestDoctorBesideASidecarAndOfDamage(t *testing.T) {
	dir := t.TempDir()
	r := serveHere(t, dir)
	r.kept("one")
	// In this process the journal is read by a process of its own too: the test's binary, called by the program's name.
	call("", "doctor", "--data-dir", dir).wants(t, 0, "in use by process", "")
	call("", "doctor", "--data-dir", dir).wants(t, 0, "the running sidecar's to have", "")
	if code := r.stop(); code != 0 {
		t.Fatal(code)
	}
	call("", "doctor", "--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0").wants(t, 0, "whole: ", "")
	segments, err := filepath.Glob(filepath.Join(dir, "journal", "g*", "*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("%v, %v", segments, err)
	}
	damage(t, segments[0])
	call("", "doctor", "--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0").wants(t, 1, "DAMAGE", "would keep the sidecar")
}

// damage turns a bit of the first record.
func damage(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[60] ^= 1
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFsyncIsJudged(t *testing.T) {
	for grade, took := range map[string]time.Duration{gradeOK: time.Millisecond, gradeWarning: time.Microsecond} {
		if f := judgeFsync(took, 2*took); f.Grade != grade {
			t.Errorf("%v: %+v", took, f)
		}
	}
	if f := judgeFsync(time.Second, time.Second); f.Grade != gradeWarning || f.Remedy == "" {
		t.Errorf("%+v", f)
	}
}

func TestStatusIsWatchedThroughARestart(t *testing.T) {
	dir := t.TempDir()
	r := serveHere(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	said, stdout := io.Pipe()
	ended := make(chan int, 1)
	go func() { // ends with ctx
		p := program{stdin: strings.NewReader(""), stdout: stdout, stderr: io.Discard}
		ended <- p.run(ctx, []string{"status", "--watch", "--interval", "100ms", "--admin", r.admin})
		_ = stdout.Close()
	}()
	lines := bufio.NewScanner(said)
	for i, says := range []string{"balance", "balance", "no sidecar answers"} {
		if i == 2 {
			go r.stop() // what the watch says meanwhile has to be read
		}
		heard := false
		for !heard && lines.Scan() {
			heard = strings.Contains(lines.Text(), says)
		}
		if !heard {
			t.Fatalf("it never said %q", says)
		}
	}
	cancel()
	for lines.Scan() { // to its end
	}
	if code := <-ended; code != 0 {
		t.Errorf("code %d", code)
	}
}
