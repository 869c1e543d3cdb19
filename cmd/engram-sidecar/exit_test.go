package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestExitCodes(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("somewhere: %w", err) }
	cases := []struct {
		err  error
		code int
	}{
		{nil, 0},
		{errors.New("whatever"), 1},
		{wrap(unix.EADDRINUSE), 1},
		{usage("wrong"), 2},
		{wrap(wal.ErrFailed), 74},
		{wrap(recovery.ErrDamaged), 74},
		{wrap(wal.ErrLocked), 75},
		{wrap(wal.ErrNewerFormat), 78},
		{badConfig(errors.New("bad")), 78},
		{badConfig(nil), 0},
		{ofDataDir(wrap(wal.ErrLocked)), 75},
		{ofDataDir(wrap(wal.ErrNewerFormat)), 78},
		{ofDataDir(wrap(fs.ErrPermission)), 78},
		{ofDataDir(wrap(unix.ENOTDIR)), 78},
		{ofDataDir(wrap(unix.EROFS)), 78},
		{ofDataDir(wrap(unix.EIO)), 74},
		{ofDataDir(wrap(unix.ENOSPC)), 74},
	}
	for _, c := range cases {
		if got := codeOf(c.err); got != c.code {
			t.Errorf("%v: code %d, want %d", c.err, got, c.code)
		}
	}
	if err := badConfig(fs.ErrPermission); !errors.Is(err, fs.ErrPermission) {
		t.Error("a code hides its error")
	}
}

func TestComplaintsAreOneHarmlessLine(t *testing.T) {
	var b bytes.Buffer
	complain(&b, errors.Join(errors.New("first\n\x1b[31m"), errors.New(" second ")))
	if got := b.String(); got != "engram-sidecar: first; [31m; second\n" {
		t.Errorf("%q", got)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain ünïcode 漢": "plain ünïcode 漢", "a\tb\r\nc": "a b  c", "\x1b]0;x\x07": "]0;x", "\u009b1m\x7f": "1m",
		"x\u202ey\u2066z\u200f": "xyz", "bad\xffutf": "bad\ufffdutf", "a\u2028b": "a b", "👩\u200d🚀": "👩\u200d🚀",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		in    string
		width int
		want  string
	}{{"äöü", 0, "äöü"}, {"äöü", 3, "äöü"}, {"äöüß", 3, "äö…"}, {"ab", 1, "…"}} {
		if got := clip(c.in, c.width); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.in, c.width, got, c.want)
		}
	}
	if got := table([]memory{{"id", 1, "a very long text that does not fit"}}, 33); got != "id   1.000  a very long text tha…\n" {
		t.Errorf("%q", got)
	}
}

func TestMemoryIsModest(t *testing.T) {
	const mib = int64(1) << 20
	for _, c := range []struct{ live, other, most, want int64 }{
		{0, 0, math.MaxInt64, 192 * mib},
		{50 * mib, 20 * mib, math.MaxInt64, 192 * mib},
		{200 * mib, 30 * mib, math.MaxInt64, 494 * mib}, // an embedded store with much in it: no less than twice that
		{10 * mib, 500 * mib, math.MaxInt64, 584 * mib}, // thousands of streams have stacks
		{200 * mib, 30 * mib, 300 * mib, 300 * mib},     // the machine has no more
	} {
		if got := modest(c.live, c.other, c.most); got != c.want {
			t.Errorf("%d MiB alive and %d MiB beside it: %d MiB, want %d", c.live/mib, c.other/mib, got/mib, c.want/mib)
		}
	}
	if live, other := inUse(), outsideHeap(); live < 0 || other <= 0 || other > 1<<40 {
		t.Errorf("alive %d, outside the heap %d", live, other)
	}
}

func TestMemoryLimit(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		path := filepath.Join(dir, "memory.max")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	machine := memoryLimit(filepath.Join(dir, "missing"))
	if machine <= 0 || machine == math.MaxInt64 {
		t.Fatalf("the machine's limit is %d", machine)
	}
	if got := memoryLimit(write("max\n")); got != machine {
		t.Errorf("no limit gives %d, want %d", got, machine)
	}
	if got := memoryLimit(write("1000000\n")); got != 750000 {
		t.Errorf("a limit of 1000000 gives %d", got)
	}
}

// TestALogLineIsOneEvent logs what a client could make up, in both forms.
func TestALogLineIsOneEvent(t *testing.T) {
	forged := "x\n{\"@level\":\"error\",\"@message\":\"forged\"}\r\x1b[31mred\x07"
	for _, format := range []string{"json", "text"} {
		var out strings.Builder
		newLogger(config.Config{LogLevel: "trace", LogFormat: format}, &out).Warn("a call was refused", "method", forged, "error", errors.New(forged))
		if lines := strings.Count(out.String(), "\n"); lines != 1 && format == "json" || strings.ContainsAny(out.String(), "\x1b\x07\r") {
			t.Errorf("%s: %q", format, out.String())
		}
	}
}
