package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal of 60 columns: what is written to tty can be read from screen.
func terminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this machine has no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 60}); err != nil {
		t.Fatal(err)
	}
	return screen, tty
}

// read collects what appears on the screen until the terminal is closed.
func read(screen *os.File) <-chan string {
	seen := make(chan string, 1)
	go func() { // ends when tty is closed
		var all bytes.Buffer
		_, _ = io.Copy(&all, screen) // EIO is how a terminal says that the other side is gone
		seen <- all.String()
	}()
	return seen
}

func TestProgressOnATerminal(t *testing.T) {
	screen, tty := terminal(t)
	seen := read(screen)
	path := t.TempDir() + "/in.txt"
	if err := os.WriteFile(path, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	p := program{stdin: strings.NewReader(""), stdout: &stdout, stderr: tty}
	code := p.run(context.Background(), []string{"observe", "--addr", serveFake(t, &fake{}), "--file", path})
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	if shown := <-seen; code != 0 || !strings.Contains(shown, "2 acked") || strings.Contains(stdout.String(), "\r") {
		t.Errorf("code %d, on the terminal %q, stdout %q", code, shown, stdout.String())
	}
}

func TestARecallFitsTheTerminal(t *testing.T) {
	screen, tty := terminal(t)
	if got := widthOf(tty); got != 60 {
		t.Errorf("the terminal has %d columns, want 60", got)
	}
	seen := read(screen)
	f := &fake{answers: batches(1)}
	f.answers[0].Results[0].Content = strings.Repeat("long ", 100)
	p := program{stdin: tty, stdout: tty, stderr: tty}
	code := p.run(context.Background(), []string{"recall", "--addr", serveFake(t, f), "x"})
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	line := strings.TrimRight(<-seen, "\r\n")
	if code != 0 || len([]rune(line)) != 60 || !strings.HasSuffix(line, "…") {
		t.Errorf("code %d, a line of %d columns: %q", code, len([]rune(line)), line)
	}
}

func TestTypingIsAnnounced(t *testing.T) {
	_, tty := terminal(t)
	defer tty.Close()
	var stderr bytes.Buffer
	p := program{stdin: tty, stderr: &stderr}
	if _, size, err := p.input("-"); err != nil || size != -1 {
		t.Errorf("size %d, %v", size, err)
	}
	if !strings.Contains(stderr.String(), "end with Ctrl-D") {
		t.Errorf("it says %q", stderr.String())
	}
}
