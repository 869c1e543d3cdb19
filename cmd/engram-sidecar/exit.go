package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// The exit codes. They are part of the interface: scripts and service managers act on them.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitIO      = 74 // EX_IOERR
	exitInUse   = 75 // EX_TEMPFAIL
	exitConfig  = 78 // EX_CONFIG
)

// coded is an error that says how the process should end.
type coded struct {
	code int
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

func usage(format string, args ...any) error { return &coded{exitUsage, fmt.Errorf(format, args...)} }

func badConfig(err error) error {
	if err == nil {
		return nil
	}
	return &coded{exitConfig, err}
}

// codeOf finds the exit code of an error: the one it bears, or that of its kind.
func codeOf(err error) int {
	var c *coded
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, wal.ErrLocked):
		return exitInUse
	case errors.Is(err, wal.ErrNewerFormat), errors.Is(err, recovery.ErrUnfinished):
		return exitConfig
	case errors.Is(err, wal.ErrFailed), errors.Is(err, wal.ErrDamaged), errors.Is(err, recovery.ErrDamaged):
		return exitIO
	default:
		return exitFailure
	}
}

// ofDataDir gives an error of opening the data directory its code. What an operator can mend by naming or preparing another
// directory is configuration; whatever else the file system says is its failure.
func ofDataDir(err error) error {
	code := codeOf(err)
	if code == exitFailure {
		code = exitIO
		for _, mendable := range []error{fs.ErrPermission, unix.ENOTDIR, unix.EROFS, unix.ENAMETOOLONG, unix.ELOOP} {
			if errors.Is(err, mendable) {
				code = exitConfig
			}
		}
	}
	return &coded{code, err}
}

// complain says in one line what happened.
func complain(w io.Writer, err error) {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	_, _ = fmt.Fprintf(w, "engram-sidecar: %s\n", printable(strings.Join(lines, "; "))) // stderr: there is nowhere else to say it
}
