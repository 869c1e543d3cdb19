package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() { os.Exit(run()) }

// run is main with an exit code instead of an end. The first SIGINT or SIGTERM asks for a clean stop; before that begins the
// signals have their usual effect again, so that the second ends the process at once.
func run() int {
	asked, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer restore()
	ctx, stop := context.WithCancelCause(context.Background())
	context.AfterFunc(asked, func() {
		restore()
		stop(context.Cause(asked))
	})
	settleProcess()
	p := program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(), hangups: hangups}
	return p.run(ctx, os.Args[1:])
}

// hangups are the wishes to read settings again. Only serve asks for them: to all else SIGHUP means what it always does.
func hangups() (wishes <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// settleProcess makes what the process creates its user's own, keeps what passes through it out of core dumps, and lets
// the collector run less often than by default: the heap is small and what passes through it is large, so memory is a
// cheap price for a flat tail. Who sets GOGC knows better.
func settleProcess() {
	unix.Umask(0o077)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // where it fails there was no right to a core dump either
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(cgroupLimit))
	}
}
