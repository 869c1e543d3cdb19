package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// The exit codes of the program.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitIO      = 74 // the journal cannot be read or written
	exitInUse   = 75 // another process has the data directory
	exitConfig  = 78 // bad configuration, or a disk format that is too new
)

// outcome is how a run of the program ended.
type outcome struct {
	code   int
	stdout string
	stderr string
}

// runToEnd runs the program until it ends by itself.
func runToEnd(t *testing.T, c *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(harness.Patience, func() { _ = c.Process.Kill() })
	_ = c.Wait() // the exit code is looked at
	if !late.Stop() {
		t.Fatalf("%v has not ended within %v\n%s", c.Args, harness.Patience, stderr.String())
	}
	return outcome{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// complains expects an exit code, nothing on stdout, and on stderr one line that says all of the words.
func (o outcome) complains(t *testing.T, code int, says ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, expected %d", o.code, code)
	}
	if o.stdout != "" {
		t.Errorf("stdout %q, expected nothing", o.stdout)
	}
	if line := strings.TrimSuffix(o.stderr, "\n"); line == "" || strings.Contains(line, "\n") {
		t.Errorf("stderr %q, expected one line", o.stderr)
	}
	for _, words := range says {
		if !strings.Contains(o.stderr, words) {
			t.Errorf("stderr %q, expected it to say %q", o.stderr, words)
		}
	}
}

// serveArgs are those of a sidecar that would start, if nothing stood against it.
func serveArgs(t *testing.T, dir string, more ...string) []string {
	t.Helper()
	return append([]string{"serve", "--listen", harness.FreeAddress(t), "--admin-listen", harness.FreeAddress(t), "--data-dir", dir}, more...)
}

func TestBadUsage(t *testing.T) {
	bin := harness.Binary(t)
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "sidecar.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, row := range []struct {
		name string
		more []string
		env  string
		code int
		says []string
	}{
		{"unknown flag", []string{"--data-dri", "x"}, "", exitUsage, []string{"data-dri"}},
		{"unexpected argument", []string{"now"}, "", exitUsage, []string{"now"}},
		{"unknown key in the file", []string{"--config", file("data-dri: /tmp\n")}, "", exitConfig, []string{"data-dri", "did you mean data-dir"}},
		{"unknown key in the environment", nil, "ENGRAM_SIDECAR_DATA_DRI=/tmp", exitConfig, []string{"ENGRAM_SIDECAR_DATA_DRI", "ENGRAM_SIDECAR_DATA_DIR"}},
		{"no such file", []string{"--config", "/nowhere/sidecar.yaml"}, "", exitConfig, []string{"/nowhere/sidecar.yaml"}},
		{"a file that is no YAML", []string{"--config", file("listen: [\n")}, "", exitConfig, []string{"sidecar.yaml"}},
		{"bad address", []string{"--listen", "nonsense"}, "", exitConfig, []string{"listen", `"nonsense"`, "host:port"}},
		{"bad port", []string{"--admin-listen", "127.0.0.1:http!"}, "", exitConfig, []string{"admin-listen", "host:port"}},
		{"wide address", []string{"--listen", "0.0.0.0:50051"}, "", exitConfig, []string{"listen", "0.0.0.0", "127.0.0.1"}},
		{"bad store", []string{"--store", "redis://here"}, "", exitConfig, []string{"store", `"redis://here"`, "engram://host:port"}},
		{"bad duration", []string{"--session-timeout", "soon"}, "", exitConfig, []string{"session-timeout", `"soon"`}},
		{"bad space", []string{"--default-space", "No!"}, "", exitConfig, []string{"default-space", "3 to 64"}},
		{"bad log level", []string{"--log-level", "loud"}, "", exitConfig, []string{"log-level", `"loud"`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			c := harness.Command(t, bin, serveArgs(t, dir, row.more...)...)
			if row.env != "" {
				c.Env = append(c.Env, row.env)
			}
			runToEnd(t, c).complains(t, row.code, row.says...)
			if _, err := os.Lstat(dir); !os.IsNotExist(err) {
				t.Errorf("%s was made (%v), expected nothing to be touched", dir, err)
			}
		})
	}
	t.Run("unknown command", func(t *testing.T) {
		runToEnd(t, harness.Command(t, bin, "sevre")).complains(t, exitUsage, "sevre")
	})
}

func TestHelpAndVersion(t *testing.T) {
	bin := harness.Binary(t)
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"observe", "--help"}, {"recall", "--help"}, {"status", "--help"}, {"--version"}} {
		o := runToEnd(t, harness.Command(t, bin, args...))
		if o.code != exitOK || o.stdout == "" || o.stderr != "" {
			t.Errorf("%q: code %d, %d bytes on stdout, stderr %q; expected 0, a text and nothing", args, o.code, len(o.stdout), o.stderr)
		}
	}
}

func TestPortInUse(t *testing.T) {
	for _, flag := range []string{"--listen", "--admin-listen"} {
		t.Run(flag, func(t *testing.T) {
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = taken.Close() }()
			dir := filepath.Join(t.TempDir(), "data")
			address := taken.Addr().String()
			o := runToEnd(t, harness.Command(t, harness.Binary(t), serveArgs(t, dir, flag, address)...))
			o.complains(t, exitFailure, address, strings.TrimPrefix(flag, "--"))
			if _, err := os.Lstat(dir); !os.IsNotExist(err) {
				t.Errorf("%s was made (%v), expected nothing to be touched", dir, err)
			}
		})
	}
}

func TestDataDirNotWritable(t *testing.T) {
	t.Run("a file is in its place", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := fingerprint(t, path)
		runToEnd(t, harness.Command(t, harness.Binary(t), serveArgs(t, path)...)).complains(t, exitConfig, path)
		unchanged(t, path, before)
	})
	t.Run("it belongs to someone else", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("needs root, to run the program as another user in a directory that is root's")
		}
		dir := t.TempDir()
		open := filepath.Dir(filepath.Dir(dir)) // the program has to get there, and to be read
		for _, path := range []string{dir, filepath.Dir(dir), open} {
			allow(t, path)
		}
		bin := filepath.Join(dir, "engram-sidecar")
		copyProgram(t, harness.Binary(t), bin)
		path := filepath.Join(dir, "data")
		if err := os.Mkdir(path, 0o755); err != nil { // readable for the other user, not writable
			t.Fatal(err)
		}
		before := fingerprint(t, path)
		c := harness.Command(t, bin, serveArgs(t, path)...)
		const nobody = 65534
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		c.Dir = "/"
		if os.Getenv("GOCOVERDIR") != "" { // a program built to count coverage complains where it cannot leave its counts
			counts := filepath.Join(dir, "counts")
			if err := errors.Join(os.Mkdir(counts, 0o700), os.Chown(counts, nobody, nobody)); err != nil {
				t.Fatal(err)
			}
			c.Env = append(c.Environ(), "GOCOVERDIR="+counts)
		}
		runToEnd(t, c).complains(t, exitConfig, path)
		unchanged(t, path, before)
	})
}

// allow lets everybody pass through a directory until the end of the test.
func allow(t *testing.T, dir string) {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o005 == 0o005 {
		return
	}
	if err := os.Chmod(dir, info.Mode().Perm()|0o055); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, info.Mode().Perm()) }) // a temporary directory
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestDataDirInUse(t *testing.T) {
	s := serving(t)
	observeAndAck(t, s, 20)
	s.Drained()
	runToEnd(t, harness.Command(t, s.Bin, serveArgs(t, s.Dir)...)).complains(t, exitInUse, s.Dir, fmt.Sprint(s.Pid()))
	// The one that has it goes on as if nothing had been, and so does its successor.
	id := observeAndAck(t, s, 200)
	recalled(t, s, id, "")
	s.Kill()
	s.Start()
	recalled(t, s, id, "")
	if b := s.Drained(); b.Accepted != 220 || b.Delivered != 220 {
		t.Errorf("balance %+v, expected 220 accepted and delivered", b)
	}
}

func TestDataDirOfANewerVersion(t *testing.T) {
	s := serving(t)
	observeAndAck(t, s, 20)
	if code := s.Stop(); code != exitOK {
		t.Fatalf("SIGTERM: exit code %d, expected 0", code)
	}
	path := filepath.Join(s.Dir, "FORMAT")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(text, []byte("format 1 "), []byte("format 99 "), 1)
	if bytes.Equal(newer, text) {
		t.Fatalf("FORMAT says %q, expected format 1", text)
	}
	if err := os.WriteFile(path, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	before := fingerprint(t, s.Dir)
	runToEnd(t, harness.Command(t, s.Bin, serveArgs(t, s.Dir)...)).complains(t, exitConfig, s.Dir, "99", "1")
	unchanged(t, s.Dir, before)
}

// fingerprint is a hash over the names, kinds and contents of everything at or below a path. Of lock files only the name
// counts: they say which process held them last, even one that then found nothing it could use.
func fingerprint(t *testing.T, path string) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(sum, "%s %v\n", path, entry.Type()) // a hash takes everything
		if !entry.Type().IsRegular() || entry.Name() == "LOCK" {
			return nil
		}
		b, err := os.ReadFile(path)
		_, _ = fmt.Fprintf(sum, "%d %x\n", len(b), sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func unchanged(t *testing.T, path, before string) {
	t.Helper()
	if fingerprint(t, path) != before {
		t.Errorf("%s has changed, expected nothing to be touched", path)
	}
}
