package harness

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

// Patience is how long a test waits for what must happen before it gives up. No test passes or fails by how fast the
// machine is, short of this.
const Patience = 60 * time.Second

// Sidecar is one data directory and the processes that serve it, one after the other, always on the same addresses.
// Its methods are for one goroutine; stderr is safe to read at any time.
type Sidecar struct {
	t      testing.TB
	Bin    string
	Flags  []string // of serve, beside addresses and directory
	Listen string   // address of gRPC
	admin  string   // address of HTTP
	Dir    string
	Log    *Transcript

	// Wrap runs the binary under another program, such as strace: its words come before the binary's.
	Wrap []string

	// Faulty says that the binary is meant to be wrong: a data race in it is for the test to judge.
	Faulty bool

	process *exec.Cmd
	ended   chan struct{} // closed when process has been waited for
}

// NewSidecar prepares one; start runs it. What is running at the end of the test is killed, and a failed test shows
// the log of all its processes.
func NewSidecar(t testing.TB, bin string, flags ...string) *Sidecar {
	t.Helper()
	s := &Sidecar{
		t: t, Bin: bin, Flags: flags, Listen: FreeAddress(t), admin: FreeAddress(t),
		Dir: filepath.Join(t.TempDir(), "data"), Log: &Transcript{},
	}
	t.Cleanup(func() {
		s.Kill()
		text := s.Log.String()
		if !s.Faulty && strings.Contains(text, "WARNING: DATA RACE") {
			t.Error("the race detector found a data race in the sidecar")
		}
		if t.Failed() {
			t.Logf("the sidecar's log:\n%s", text)
		}
	})
	return s
}

// Reach is a sidecar that another test process runs: it can be asked and called, and is neither started nor ended.
func Reach(t testing.TB, listen, admin string) *Sidecar {
	t.Helper()
	return &Sidecar{t: t, Listen: listen, admin: admin, Log: &Transcript{}}
}

// Exec starts the process and returns at once.
func (s *Sidecar) Exec() {
	s.t.Helper()
	args := append([]string{"serve", "--listen", s.Listen, "--admin-listen", s.admin, "--data-dir", s.Dir}, s.Flags...)
	words := append(slices.Clone(s.Wrap), append([]string{s.Bin}, args...)...)
	s.process = Command(s.t, words[0], words[1:]...)
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Kill takes what wraps the binary along
	s.process.Stdout, s.process.Stderr = s.Log, s.Log
	if err := s.process.Start(); err != nil {
		s.t.Fatalf("start %s: %v", s.Bin, err)
	}
	s.ended = make(chan struct{})
	go func(process *exec.Cmd, ended chan struct{}) { // ends with the process; kill and stop wait for it
		defer close(ended)
		_ = process.Wait() // the exit code is read from ProcessState
	}(s.process, s.ended)
}

// Start runs the process and returns when it is ready, with how long that took.
func (s *Sidecar) Start() time.Duration {
	s.t.Helper()
	began := time.Now()
	s.Exec()
	s.WaitReady()
	return time.Since(began)
}

// Admin is the address of HTTP.
func (s *Sidecar) Admin() string { return s.admin }

// Pid is the number of the process that runs.
func (s *Sidecar) Pid() int { return s.process.Process.Pid }

// TryStart runs the process and says whether it became ready; else it has ended, and ExitCode tells how.
func (s *Sidecar) TryStart() bool {
	s.t.Helper()
	s.Exec()
	deadline := time.After(Patience)
	for {
		if answer, err := s.Get("/readyz"); err == nil && answer.StatusCode == http.StatusOK {
			return true
		}
		select {
		case <-s.ended:
			return false
		case <-deadline:
			s.dumpStacks()
			s.t.Fatalf("the sidecar was neither ready nor ended within %v", Patience)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// WaitReady returns when the process is ready.
func (s *Sidecar) WaitReady() {
	s.t.Helper()
	last := "nothing"
	defer func() {
		if s.t.Failed() {
			s.t.Logf("/readyz said last: %s", last)
		}
	}()
	s.Await("ready", func() (bool, error) {
		answer, err := s.Get("/readyz")
		if err != nil {
			last = err.Error()
			return false, nil // not yet listening
		}
		last = string(answer.Text)
		return answer.StatusCode == http.StatusOK, nil
	})
}

// Await polls a condition until it holds, and fails the test when it gives an error, when the process ends, or when
// Patience does.
func (s *Sidecar) Await(what string, holds func() (bool, error)) {
	s.t.Helper()
	deadline := time.NewTimer(Patience)
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
			s.dumpStacks()
			s.t.Fatalf("waiting for %s: not within %v", what, Patience)
		}
	}
}

// dumpStacks lets a process that does not answer say into the log where it stands.
func (s *Sidecar) dumpStacks() {
	if s.process == nil { // it is another's
		return
	}
	_ = s.process.Process.Signal(syscall.SIGQUIT) // it may be gone
	select {
	case <-s.ended:
	case <-time.After(5 * time.Second):
		_, _ = s.Log.Write([]byte("SIGQUIT was not answered within 5 s: the process hangs in the kernel\n"))
	}
}

// Kill ends the process with SIGKILL, where one is running, and waits for it to be gone.
func (s *Sidecar) Kill() {
	if s.process == nil {
		return
	}
	_ = syscall.Kill(-s.process.Process.Pid, syscall.SIGKILL) // fails when it has ended by itself, which is as good
	<-s.ended
	s.process = nil
}

// Stop ends the process with SIGTERM and returns its exit code.
func (s *Sidecar) Stop() int {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatalf("SIGTERM: %v", err)
	}
	return s.ExitCode()
}

// StopWithin ends the process with SIGTERM and returns its exit code, or kills it when it takes longer and returns -1.
func (s *Sidecar) StopWithin(patience time.Duration) int {
	_ = s.process.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.ended:
		return s.ExitCode()
	case <-time.After(patience):
		s.Kill()
		return -1
	}
}

// Ended is closed when the process has ended by itself.
func (s *Sidecar) Ended() <-chan struct{} { return s.ended }

// ExitCode waits for the process to end.
func (s *Sidecar) ExitCode() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(Patience):
		s.t.Fatalf("the sidecar did not end within %v", Patience)
	}
	code := s.process.ProcessState.ExitCode()
	s.process = nil
	return code
}

// Connect returns a connection to the sidecar that outlives its processes.
func (s *Sidecar) Connect() *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.Listen, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.5, MaxDelay: 50 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		s.t.Fatalf("connect to %s: %v", s.Listen, err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Balance is what /api/status says of every record ever accepted.
type Balance struct {
	Accepted  uint64 `json:"accepted"`
	Delivered uint64 `json:"delivered"`
	Pending   uint64 `json:"pending"`
	Dead      uint64 `json:"dead"`
	Dropped   uint64 `json:"dropped"`
	Damaged   uint64 `json:"damaged"`
}

// Even says whether it adds up.
func (b Balance) Even() bool {
	return b.Accepted == b.Delivered+b.Pending+b.Dead+b.Dropped+b.Damaged
}

// Status is what /api/status says, as far as tests look at it.
type Status struct {
	Uptime  float64  `json:"uptime_seconds"`
	Balance *Balance `json:"balance"`
	Edge    struct {
		Expired uint64 `json:"expired"` // sessions, since the start
	} `json:"edge"`
	Recovery struct {
		Torn    uint64 `json:"torn_bytes"`
		Rebuilt bool   `json:"rebuilt"`
		Damages []struct {
			Place   string `json:"place"`
			Session string `json:"session"`
			First   uint64 `json:"first"`
			Last    uint64 `json:"last"`
		} `json:"damages"`
	} `json:"recovery"`
	Journal struct {
		Generations int     `json:"generations"`
		Bytes       uint64  `json:"bytes"`
		Pressure    float64 `json:"pressure"`
	} `json:"journal"`
	Store struct {
		Stored uint64 `json:"stored"`
		Up     bool   `json:"up"`
	} `json:"store"`
}

// Status asks the running process.
func (s *Sidecar) Status() (*Status, error) {
	answer, err := s.Get("/api/status")
	if err != nil {
		return nil, err
	}
	var status Status
	if err := json.Unmarshal(answer.Text, &status); err != nil {
		return nil, fmt.Errorf("/api/status: %w in %s", err, answer.Text)
	}
	if status.Balance == nil {
		return nil, fmt.Errorf("/api/status: no balance in %s", answer.Text)
	}
	return &status, nil
}

// Balance asks the running process.
func (s *Sidecar) Balance() (Balance, error) {
	status, err := s.Status()
	if err != nil {
		return Balance{}, err
	}
	return *status.Balance, nil
}

// Drained waits until nothing is pending and returns the balance then.
func (s *Sidecar) Drained() (b Balance) {
	s.t.Helper()
	s.Await("an empty queue", func() (bool, error) {
		var err error
		b, err = s.Balance()
		return b.Pending == 0, err
	})
	return b
}

// Answer is an HTTP answer, read whole.
type Answer struct {
	*http.Response
	Text []byte
}

// Get asks the admin server.
func (s *Sidecar) Get(path string) (*Answer, error) {
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
	return &Answer{response, body.Bytes()}, nil
}

// Command prepares a run of the binary that sees none of the tester's own settings.
func Command(t testing.TB, bin string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(bin, args...)
	c.Env = slices.DeleteFunc(os.Environ(), func(setting string) bool {
		return strings.HasPrefix(setting, "ENGRAM_SIDECAR_") || strings.HasPrefix(setting, "STATE_DIRECTORY=") ||
			strings.HasPrefix(setting, "XDG_") || strings.HasPrefix(setting, "HOME=")
	})
	c.Env = append(c.Env, "HOME="+t.TempDir())
	return c
}

// Transcript keeps the end of what processes wrote. It is safe for use by many goroutines.
type Transcript struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (l *Transcript) Write(p []byte) (int, error) {
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
func (l *Transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
