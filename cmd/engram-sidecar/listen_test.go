package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestAKilledProcessesSocketIsTakenOver leaves a socket behind as a kill -9 does.
func TestAKilledProcessesSocketIsTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := listen("listen", "unix://"+path, nil, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if got := addressOf(l); got != "unix://"+path {
		t.Errorf("it is at %s", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if err := closeListener(l); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestASocketNobodyCanAskAbout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file", "s.sock")
	if err := os.WriteFile(filepath.Dir(path), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := listen("listen", "unix://"+path, nil, hclog.NewNullLogger()); err == nil {
		t.Errorf("it listens on %v", l.Addr())
	} else if codeOf(err) != exitFailure {
		t.Errorf("code %d, want 1: %v", codeOf(err), err)
	}
}
