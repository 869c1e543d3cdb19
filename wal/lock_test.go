package wal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// holdLockEnv makes the test binary a process that holds the lock of the directory it names until its standard input ends.
const holdLockEnv = "WAL_TEST_HOLD_LOCK"

func holdLock(dir string) int {
	if _, err := AcquireLock(dir); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func TestLockHeldByAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdLockEnv+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	_, err = AcquireLock(dir)
	if who := fmt.Sprintf("process %d", cmd.Process.Pid); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), who) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v, want it to name %s and %s", err, who, dir)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // which tells that it was killed
	lock, err := AcquireLock(dir)
	if err != nil {
		t.Fatalf("its holder was killed: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "LOCK")); err != nil || string(b) != fmt.Sprintf("process %d\n", os.Getpid()) {
		t.Errorf("%q, %v", b, err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

func TestLockOfOneProcess(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		lock, err := AcquireLock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := AcquireLock(dir); !errors.Is(err, ErrLocked) {
			t.Errorf("a second lock: %v", err)
		}
		if err := lock.Release(); err != nil {
			t.Error(err)
		}
	}
	fi, err := os.Stat(filepath.Join(dir, "LOCK"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
}

func TestLockFileThatIsNone(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
	if _, err := AcquireLock(dir); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a symlink: %v", err)
	}
	if _, err := AcquireLock(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if got := holder(filepath.Join(dir, "none")); got != "another process" {
		t.Errorf("%q", got)
	}
}
