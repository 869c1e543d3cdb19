package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// patience is how long the demo waits for anything.
const patience = 30 * time.Second

// sidecar is one data directory, and the process that serves it.
type sidecar struct {
	program string
	dir     string
	address string // gRPC
	admin   string // HTTP

	process *exec.Cmd
	log     bytes.Buffer // what the present process said; read only after it has ended
}

// build makes the program from the source in the current module.
func build(dir string) (string, error) {
	program := filepath.Join(dir, "engram-sidecar")
	out, err := exec.Command("go", "build", "-o", program, "github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return program, nil
}

// freeAddresses finds two loopback addresses that nobody listens on. Both are held until both are found, so that they differ.
func freeAddresses() (first, second string, err error) {
	a, errA := net.Listen("tcp", "127.0.0.1:0")
	b, errB := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(errA, errB); err != nil {
		return "", "", fmt.Errorf("finding free ports: %w", err)
	}
	return a.Addr().String(), b.Addr().String(), errors.Join(a.Close(), b.Close())
}

// start runs the process and returns when it is ready, with how long that took.
func (s *sidecar) start() (time.Duration, error) {
	began := time.Now()
	s.process = exec.Command(s.program, "serve", "--listen", s.address, "--admin-listen", s.admin,
		"--data-dir", filepath.Join(s.dir, "data"), "--log-format", "text")
	s.log.Reset()
	s.process.Stdout, s.process.Stderr = &s.log, &s.log
	s.process.Env = environment(s.dir)
	if err := s.process.Start(); err != nil {
		return 0, fmt.Errorf("starting the sidecar: %w", err)
	}
	err := await("the sidecar to be ready", func() bool {
		response, err := http.Get("http://" + s.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close() // only the code counts
		return response.StatusCode == http.StatusOK
	})
	if err != nil {
		s.kill()
		return 0, fmt.Errorf("%w; it said:\n%s", err, s.log.String())
	}
	return time.Since(began), nil
}

// environment is ours without settings of somebody's own sidecar.
func environment(dir string) []string {
	return []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.Getenv("TMPDIR")}
}

// kill is kill -9. It does nothing where nothing runs.
func (s *sidecar) kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill() // fails only when it has ended
	_ = s.process.Wait()         // says that it was killed
	s.process = nil
}

// stop asks the process to end, and wants it to end well.
func (s *sidecar) stop() error {
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the sidecar: %w", err)
	}
	late := time.AfterFunc(patience, func() { _ = s.process.Process.Kill() })
	defer late.Stop()
	err := s.process.Wait()
	s.process = nil
	if err != nil {
		return fmt.Errorf("the sidecar did not end well: %w; it said:\n%s", err, s.log.String())
	}
	return nil
}

// state is what the demo looks at of /api/status.
type state struct {
	Balance struct {
		Accepted, Delivered, Pending, Dead, Damaged uint64
	}
	Store struct {
		Stored uint64
	}
	Recovery struct {
		Duration float64 `json:"duration_seconds"`
		Pending  uint64
		TornTail uint64 `json:"torn_bytes"`
	}
}

func (s *sidecar) state() (state, error) {
	var st state
	response, err := http.Get("http://" + s.admin + "/api/status")
	if err != nil {
		return st, fmt.Errorf("asking for the status: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return st, fmt.Errorf("reading the status: %w", err)
	}
	if err := json.Unmarshal(body, &st); err != nil {
		return st, fmt.Errorf("reading the status: %w", err)
	}
	return st, nil
}

// await asks again and again until done says yes.
func await(what string, done func() bool) error {
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			return errors.New("waited in vain for " + what)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}
