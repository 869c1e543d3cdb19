package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

// scriptCommands are what the scripts can do beside what testscript brings.
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"exits": exits, "until": until, "sidecar": sidecars, "store": stores, "only-session": onlySession,
}

// exits runs a program and wants an exit code: exits CODE PROGRAM ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// own is this binary as the program, in the script's directory and with its environment, as far as settings go.
func own(ts *testscript.TestScript, args ...string) *exec.Cmd {
	self, err := os.Executable()
	ts.Check(err)
	c := &exec.Cmd{Path: self, Args: append([]string{"engram-sidecar"}, args...), Dir: ts.MkAbs(".")}
	for _, name := range []string{"HOME", "PATH", "TMPDIR", "GORACE"} {
		c.Env = append(c.Env, name+"="+ts.Getenv(name))
	}
	return c
}

// until runs the program until it has said a text, interrupts it, and wants a clean end: until TEXT engram-sidecar ARGS...
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || args[1] != "engram-sidecar" {
		ts.Fatalf("usage: until TEXT engram-sidecar ARGS...")
	}
	out, in := io.Pipe()
	c := own(ts, args[2:]...)
	c.Stdout, c.Stderr = in, in
	ts.Check(c.Start())
	late := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() }) // where it has ended already there is nothing to kill
	defer late.Stop()
	ended := make(chan error, 1)
	go func() { // ends with the process
		ended <- c.Wait()
		_ = in.Close()
	}()
	said, found := strings.Builder{}, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		_, _ = fmt.Fprintln(ts.Stdout(), lines.Text()) // a buffer takes everything
		if !found && strings.Contains(lines.Text(), args[0]) {
			found = true
			ts.Check(c.Process.Signal(syscall.SIGINT))
		}
	}
	if err := <-ended; err != nil || !found {
		ts.Fatalf("%q was said: %v; it ended with %v: %s", args[0], found, err, said.String())
	}
}

// scripted is a sidecar that a script has started.
type scripted struct {
	cmd   *exec.Cmd
	quiet chan struct{}  // closed when all it said was read
	line  map[string]any // with which it said that it serves
	said  strings.Builder
}

// sidecarsKey is where a script keeps those it has started, by name.
type sidecarsKey struct{}

// sidecars starts and stops sidecars beside the script:
//
//	sidecar start NAME ARGS...   serve on free ports, which $NAME_GRPC and $NAME_ADMIN hold then, until the end of the script
//	sidecar stop NAME            SIGTERM, and it has to end with 0
//	sidecar kill NAME            SIGKILL
//	sidecar ended NAME           wait for an end that another command has asked for, with 0
func sidecars(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: sidecar start NAME ARGS... | sidecar stop NAME | sidecar kill NAME | sidecar ended NAME")
	}
	started, _ := ts.Value(sidecarsKey{}).(map[string]*scripted) // Setup has put it there
	s := started[args[1]]
	switch {
	case args[0] == "start":
		started[args[1]] = startScripted(ts, args[1], args[2:])
	case s == nil:
		ts.Fatalf("no sidecar %q was started", args[1])
	case args[0] == "stop":
		ts.Check(s.end(syscall.SIGTERM))
	case args[0] == "kill":
		_ = s.end(syscall.SIGKILL) // it says that it was killed
	case args[0] == "ended":
		ts.Check(s.end(syscall.Signal(0)))
	default:
		ts.Fatalf("sidecar %s: expected start, stop, kill or ended", args[0])
	}
}

func startScripted(ts *testscript.TestScript, name string, args []string) *scripted {
	s := &scripted{quiet: make(chan struct{})}
	s.cmd = own(ts, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"}, args...)...)
	out, err := s.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	ts.Defer(func() { _ = s.end(syscall.SIGKILL) })
	lines := bufio.NewScanner(out)
	for s.line == nil && lines.Scan() {
		fmt.Fprintln(&s.said, lines.Text())
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) == nil && line["@message"] == "serving" {
			s.line = line
		}
	}
	go func() { // ends with the process
		defer close(s.quiet)
		for lines.Scan() {
			fmt.Fprintln(&s.said, lines.Text())
		}
	}()
	if s.line == nil {
		ts.Fatalf("it does not serve: %v: %s", s.end(syscall.SIGTERM), s.said.String())
	}
	ts.Setenv(strings.ToUpper(name)+"_GRPC", fmt.Sprint(s.line["grpc"]))
	ts.Setenv(strings.ToUpper(name)+"_ADMIN", fmt.Sprint(s.line["admin"]))
	return s
}

// end asks for the end and waits for it. It may be called again.
func (s *scripted) end(how syscall.Signal) error {
	_ = s.cmd.Process.Signal(how) // where it has ended, Wait says so
	late := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	<-s.quiet
	if err := s.cmd.Wait(); err != nil && s.cmd.ProcessState.ExitCode() != 0 {
		return fmt.Errorf("%w: %s", err, s.said.String())
	}
	return nil
}

// storeKey is where a script keeps its store.
type storeKey struct{}

// stores is a store that is no sidecar's own: `store start` sets $STORE to its address. It takes everything but an observation
// that is called poison, and that too after `store mend`.
func stores(ts *testscript.TestScript, neg bool, args []string) {
	f, _ := ts.Value(storeKey{}).(*fake) // Setup has put it there
	switch {
	case !neg && len(args) == 1 && args[0] == "start":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		server := grpc.NewServer()
		engramv1.RegisterEngramServiceServer(server, f)
		ended := make(chan struct{})
		go func() { // ends with the script
			defer close(ended)
			_ = server.Serve(l)
		}()
		ts.Defer(func() { server.Stop(); <-ended })
		ts.Setenv("STORE", l.Addr().String())
	case !neg && len(args) == 1 && args[0] == "mend":
		f.mu.Lock()
		defer f.mu.Unlock()
		f.mended = true
	default:
		ts.Fatalf("usage: store start | store mend")
	}
}

// onlySession sets $SESSION to the one that a sidecar has: only-session ADMIN.
func onlySession(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: only-session ADMIN")
	}
	var all []admin.Session
	ts.Check(adminAddress{where: args[0]}.read(context.Background(), &all, "api", "sessions"))
	if len(all) != 1 {
		ts.Fatalf("expected one session, got %d", len(all))
	}
	ts.Setenv("SESSION", all[0].ID)
}
