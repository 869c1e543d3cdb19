package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// process is one of the processes of a run.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	events chan event    // closed when the process has said its last
	ended  chan struct{} // closed when it has been waited for
	said   tail          // the last of what it said on stderr
}

// startPart starts this binary as a part.
func startPart(ctx context.Context, p part) (*process, error) {
	c, err := newProcess(ctx, string(p.Role), partCommand...)
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.cmd.Stderr = &c.said
	if err := c.start(out, func(line []byte, e *event) bool { return json.Unmarshal(line, e) == nil }); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(c.stdin).Encode(p); err != nil {
		c.kill()
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	return c, nil
}

// partCommand is the hidden command that runs a part.
var partCommand = []string{"bench", "part"}

// startSidecar starts this binary as a sidecar.
func startSidecar(ctx context.Context, dir, store string, quota int64, more ...string) (c *process, address, admin string, err error) {
	args := []string{
		"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", dir, "--store", store,
		"--journal-max-bytes", fmt.Sprint(quota), "--log-format", "json", "--max-connections", "40000",
	}
	c, err = newProcess(ctx, "sidecar", append(args, more...)...)
	if err != nil {
		return nil, "", "", err
	}
	out, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, "", "", err
	}
	err = c.start(out, func(line []byte, e *event) bool {
		var said struct {
			Message string `json:"@message"`
			GRPC    string `json:"grpc"`
			Admin   string `json:"admin"`
		}
		_, _ = c.said.Write(line) // never fails
		if json.Unmarshal(line, &said) != nil || said.Message != "serving" {
			return false
		}
		e.Address, admin = said.GRPC, said.Admin
		return true
	})
	if err != nil {
		return nil, "", "", err
	}
	if address, err = c.address(ctx); err != nil {
		c.kill()
	}
	return c, address, admin, err
}

// newProcess prepares a process of this binary. It dies with ctx.
func newProcess(ctx context.Context, name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the own program: %w", err)
	}
	c := &process{name: name, events: make(chan event, 64), ended: make(chan struct{})}
	c.cmd = exec.CommandContext(ctx, self, args...) //nolint:gosec // ourselves
	c.cmd.Env = withoutSettings(os.Environ())
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for the parent, which ends its parts
	c.stdin, err = c.cmd.StdinPipe()
	return c, err
}

// withoutSettings is an environment without a sidecar's settings, which are not meant for those that are measured.
func withoutSettings(environ []string) []string {
	return slices.DeleteFunc(environ, func(e string) bool { return strings.HasPrefix(e, "ENGRAM_SIDECAR_") })
}

// start starts it, and listens: read makes an event of a line, or says that it is none.
func (c *process) start(out io.Reader, read func(line []byte, e *event) bool) error {
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	go func() { // ends with the process
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e event
			if read(lines.Bytes(), &e) {
				c.events <- e
			}
		}
		_ = c.cmd.Wait() // how it ended is in ProcessState
		close(c.ended)
		close(c.events)
	}()
	return nil
}

// next is the next event of a process, or why there is none.
func (c *process) next(ctx context.Context) (event, error) {
	select {
	case e, ok := <-c.events:
		switch {
		case !ok:
			return e, fmt.Errorf("%s ended with %v: %s", c.name, c.cmd.ProcessState, c.said.String())
		case e.Failure != "":
			return e, fmt.Errorf("%s: %s", c.name, e.Failure)
		}
		return e, nil
	case <-ctx.Done():
		return event{}, context.Cause(ctx)
	}
}

// address waits until a server serves.
func (c *process) address(ctx context.Context) (string, error) {
	for {
		e, err := c.next(ctx)
		if err != nil || e.Address != "" {
			return e.Address, err
		}
	}
}

// stopPatience is how long a process may take to end by itself.
const stopPatience = 30 * time.Second

// stop asks the process to end, and waits.
func (c *process) stop() {
	_ = c.stdin.Close()                          // a part ends
	_ = c.cmd.Process.Signal(syscall.SIGTERM)    // a sidecar ends; where it has, there is nothing to do
	late := time.AfterFunc(stopPatience, c.kill) // it hangs: its figures were taken before
	defer late.Stop()
	for range c.events { // until it has said its last
	}
	<-c.ended
}

func (c *process) kill() {
	_ = c.cmd.Process.Kill() // where it fails it has ended
}

// tail keeps the last of what a process said.
type tail struct{ b []byte }

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	const kept = 2 << 10
	t.b = append(t.b, p...)
	if len(t.b) > kept {
		t.b = t.b[len(t.b)-kept:]
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.b)) }

var errNoProc = errors.New("/proc does not say what a process has used: expected Linux")
