package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

// patience is how long a test waits for what must happen before it gives up. No test passes or fails by how fast the
// machine is, short of this.
const patience = 60 * time.Second

// sidecar is one data directory and the processes that serve it, one after the other, always on the same addresses.
// Its methods are for one goroutine; stderr is safe to read at any time.
type sidecar struct {
	t      testing.TB
	bin    string
	flags  []string
	listen string // gRPC
	admin  string // HTTP
	dir    string
	log    *transcript

	process *exec.Cmd
	ended   chan struct{} // closed when process has been waited for
}

// newSidecar prepares one; start runs it. What is running at the end of the test is killed, and a failed test shows
// the log of all its processes.
func newSidecar(t testing.TB, bin string, flags ...string) *sidecar {
	t.Helper()
	s := &sidecar{
		t: t, bin: bin, flags: flags, listen: freeAddress(t), admin: freeAddress(t),
		dir: filepath.Join(t.TempDir(), "data"), log: &transcript{},
	}
	t.Cleanup(func() {
		s.kill()
		text := s.log.String()
		if strings.Contains(text, "WARNING: DATA RACE") {
			t.Error("the race detector found a data race in the sidecar")
		}
		if t.Failed() {
			t.Logf("the sidecar's log:\n%s", text)
		}
	})
	return s
}

// exec starts the process and returns at once.
func (s *sidecar) exec() {
	s.t.Helper()
	args := append([]string{"serve", "--listen", s.listen, "--admin-listen", s.admin, "--data-dir", s.dir}, s.flags...)
	s.process = command(s.t, s.bin, args...)
	s.process.Stdout, s.process.Stderr = s.log, s.log
	if err := s.process.Start(); err != nil {
		s.t.Fatalf("start %s: %v", s.bin, err)
	}
	s.ended = make(chan struct{})
	go func(process *exec.Cmd, ended chan struct{}) { // ends with the process; kill and stop wait for it
		defer close(ended)
		_ = process.Wait() // the exit code is read from ProcessState
	}(s.process, s.ended)
}

// start runs the process and returns when it is ready, with how long that took.
func (s *sidecar) start() time.Duration {
	s.t.Helper()
	began := time.Now()
	s.exec()
	s.waitReady()
	return time.Since(began)
}

func (s *sidecar) waitReady() {
	s.t.Helper()
	s.await("ready", func() (bool, error) {
		answer, err := s.get("/readyz")
		if err != nil {
			return false, nil // not yet listening
		}
		return answer.StatusCode == http.StatusOK, nil
	})
}

// await polls a condition until it holds, and fails the test when it gives an error, when the process ends, or when
// patience does.
func (s *sidecar) await(what string, holds func() (bool, error)) {
	s.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for {
		if ok, err := holds(); err != nil {
			s.t.Fatalf("waiting for %s: %v", what, err)
		} else if ok {
			return
		}
		select {
		case <-every.C:
		case <-s.ended:
			s.t.Fatalf("waiting for %s: the sidecar ended with code %d", what, s.process.ProcessState.ExitCode())
		case <-deadline.C:
			s.t.Fatalf("waiting for %s: not within %v", what, patience)
		}
	}
}

// kill ends the process with SIGKILL, where one is running, and waits for it to be gone.
func (s *sidecar) kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill() // fails when it has ended by itself, which is as good
	<-s.ended
	s.process = nil
}

// stop ends the process with SIGTERM and returns its exit code.
func (s *sidecar) stop() int {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatalf("SIGTERM: %v", err)
	}
	return s.exitCode()
}

// exitCode waits for the process to end.
func (s *sidecar) exitCode() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("the sidecar did not end within %v", patience)
	}
	code := s.process.ProcessState.ExitCode()
	s.process = nil
	return code
}

// connect returns a connection to the sidecar that outlives its processes.
func (s *sidecar) connect() *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.listen, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.5, MaxDelay: 50 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		s.t.Fatalf("connect to %s: %v", s.listen, err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// balance is what /api/status says of every record ever accepted.
type balance struct {
	Accepted  uint64 `json:"accepted"`
	Delivered uint64 `json:"delivered"`
	Pending   uint64 `json:"pending"`
	Dead      uint64 `json:"dead"`
	Dropped   uint64 `json:"dropped"`
	Damaged   uint64 `json:"damaged"`
}

func (b balance) even() bool {
	return b.Accepted == b.Delivered+b.Pending+b.Dead+b.Dropped+b.Damaged
}

// balance asks the running process.
func (s *sidecar) balance() (balance, error) {
	answer, err := s.get("/api/status")
	if err != nil {
		return balance{}, err
	}
	var body struct {
		Balance *balance `json:"balance"`
	}
	if err := json.Unmarshal(answer.body, &body); err != nil {
		return balance{}, fmt.Errorf("/api/status: %w in %s", err, answer.body)
	}
	if body.Balance == nil {
		return balance{}, fmt.Errorf("/api/status: no balance in %s", answer.body)
	}
	return *body.Balance, nil
}

// drained waits until nothing is pending and returns the balance then.
func (s *sidecar) drained() (b balance) {
	s.t.Helper()
	s.await("an empty queue", func() (bool, error) {
		var err error
		b, err = s.balance()
		return b.Pending == 0, err
	})
	return b
}

// answer is an HTTP answer, read whole.
type answer struct {
	*http.Response
	body []byte
}

func (s *sidecar) get(path string) (*answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+path, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true // the next question may go to another process
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return nil, err
	}
	return &answer{response, body.Bytes()}, nil
}

// command prepares a run of the binary that sees none of the tester's own settings.
func command(t testing.TB, bin string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(bin, args...)
	c.Env = slices.DeleteFunc(os.Environ(), func(setting string) bool {
		return strings.HasPrefix(setting, "ENGRAM_SIDECAR_") || strings.HasPrefix(setting, "STATE_DIRECTORY=") ||
			strings.HasPrefix(setting, "XDG_") || strings.HasPrefix(setting, "HOME=")
	})
	c.Env = append(c.Env, "HOME="+t.TempDir())
	return c
}

// transcript keeps the end of what processes wrote. It is safe for use by many goroutines.
type transcript struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (l *transcript) Write(p []byte) (int, error) {
	const most = 1 << 20
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if len(l.text) > 2*most {
		l.text = slices.Clone(l.text[len(l.text)-most:])
	}
	return len(p), nil
}

// String returns what is kept.
func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
