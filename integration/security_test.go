package integration

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // which the bomb replaces
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// statusOf reads numbers out of /proc/PID/status.
func statusOf(t *testing.T, pid int, key string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("/proc/%d/status has no %s", pid, key)
	return ""
}

func TestSecurityListensOnLoopbackAlone(t *testing.T) {
	s := harness.NewSidecar(t, harness.Binary(t))
	s.Start()
	own := map[string]bool{} // inodes of its sockets
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", s.Pid(), fd.Name())) // it may be closed by now
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	var listening []string
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", s.Pid(), table))
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if w := strings.Fields(lines.Text()); len(w) > 9 && w[3] == "0A" && own[w[9]] { // LISTEN
				listening = append(listening, table+" "+w[1])
			}
		}
		_ = f.Close() // only read from
	}
	want := make([]string, 0, 2)
	for _, address := range []string{s.Listen, s.Admin()} {
		_, port, _ := net.SplitHostPort(address)
		n, _ := strconv.Atoi(port)
		want = append(want, fmt.Sprintf("tcp 0100007F:%04X", n)) // 127.0.0.1
	}
	slices.Sort(listening)
	slices.Sort(want)
	if !slices.Equal(listening, want) {
		t.Errorf("it listens on %q, want %q", listening, want)
	}
}

func TestSecurityOfTheProcessAndItsFiles(t *testing.T) {
	s := harness.NewSidecar(t, harness.Binary(t))
	s.Start()
	if mask := statusOf(t, s.Pid(), "Umask"); mask != "0077" {
		t.Errorf("umask %s", mask)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`Max core file size +0 +0 +bytes`).Match(limits) {
		t.Errorf("it may leave a core dump:\n%s", limits)
	}
	k := newTalk(t, s.Connect())
	k.send(initOf(""))
	for n := range uint64(20) {
		k.send(observe(n+1, harness.EpisodeOf(harness.Observation{Session: "modes", Sequence: n + 1})))
	}
	s.Await("observations in the store", func() (bool, error) {
		b, err := s.Balance()
		return b.Delivered == 20, err
	})
	s.Kill()
	s.Start() // recovery makes files too
	seen := 0
	err = filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %#o, want %#o", path, info.Mode().Perm(), want)
		}
		seen++
		return err
	})
	if err != nil || seen < 8 {
		t.Errorf("%d files, %v", seen, err)
	}
}

func TestSecurityOfADirectoryOpenToOthers(t *testing.T) {
	for _, mode := range []fs.FileMode{0o777, 0o770, 0o702} {
		s := harness.NewSidecar(t, harness.Binary(t))
		if err := os.Mkdir(s.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(s.Dir, mode); err != nil {
			t.Fatal(err)
		}
		o := runToEnd(t, harness.Command(t, s.Bin, "serve", "--data-dir", s.Dir, "--listen", s.Listen, "--admin-listen", s.Admin()))
		o.complains(t, exitConfig, "may be written by others", fmt.Sprintf("%#o", mode))
		if entries, err := os.ReadDir(s.Dir); err != nil || len(entries) != 0 {
			t.Errorf("mode %#o: it was written to: %v, %v", mode, entries, err)
		}
	}
}

// TestSecurityDecompressionBomb sends 100 MiB in 100 KB.
func TestSecurityDecompressionBomb(t *testing.T) {
	s := harness.NewSidecar(t, harness.Binary(t))
	s.Start()
	before := kilobytes(t, s.Pid())
	rpc := engramv1.NewEngramServiceClient(s.Connect())
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	bomb := harness.Bomb(t, 100)
	for range 3 {
		_, err := rpc.Remember(ctx, &engramv1.RememberRequest{MemorySpaceId: "any"}, bomb) // grpc packs nothing of which there is nothing
		if status.Code(err) != codes.ResourceExhausted {
			t.Fatalf("the bomb was answered with %v", err)
		}
	}
	if after := kilobytes(t, s.Pid()); after > before+32<<10 {
		t.Errorf("its memory went from %d KB to %d KB at most", before, after)
	}
}

// kilobytes is the most memory that a process ever had.
func kilobytes(t *testing.T, pid int) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSuffix(statusOf(t, pid, "VmHWM"), " kB"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSecurityNamesAreNoPaths observes into spaces, and under ids, that would be paths if they were made file names.
func TestSecurityNamesAreNoPaths(t *testing.T) {
	s := harness.NewSidecar(t, harness.Binary(t))
	s.Start()
	around := filepath.Dir(s.Dir)
	before := names(t, around)
	rpc := engramv1.NewEngramServiceClient(s.Connect())
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	remember := func(space, id string) error {
		e := harness.EpisodeOf(harness.Observation{Session: "paths", Sequence: 1})
		e.Id = id
		_, err := rpc.Remember(ctx, &engramv1.RememberRequest{MemorySpaceId: space, MemoryType: &engramv1.RememberRequest_Episode{Episode: e}})
		return err
	}
	bad := []string{"../escaped", "..", "/etc/escaped", "a/../../escaped", "escaped\x00", "..\\escaped", strings.Repeat("../", 20) + "tmp/escaped"}
	for _, name := range bad {
		if err := remember(name, ""); status.Code(err) != codes.InvalidArgument {
			t.Errorf("space %q: %v", name, err)
		}
		if err := remember("", name); err != nil {
			t.Errorf("id %q: %v", name, err)
		}
		k := newTalk(t, s.Connect())
		k.send(initOf(name))
		if _, err := k.stream.Recv(); status.Code(err) != codes.NotFound {
			t.Errorf("session %q: %v", name, err)
		}
	}
	s.Drained()
	if after := names(t, around); !slices.Equal(before, after) {
		t.Errorf("around the data directory were %q, are %q", before, after)
	}
	for _, name := range names(t, s.Dir) {
		if strings.Contains(name, "escaped") {
			t.Errorf("a client's name became that of a file: %s", name)
		}
	}
}

// names lists what is below a directory, but for what the data directory holds.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != dir && d.Name() == "data" {
			all = append(all, path)
			return fs.SkipDir
		}
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestSecurityOfModules looks for what is known to be wrong among what the binary is built from.
func TestSecurityOfModules(t *testing.T) {
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) (v\S+)`).FindAllStringSubmatch(string(text), -1) {
		versions[m[1]] = m[2]
	}
	if versions["go.etcd.io/bbolt"] == "" || strings.Contains(string(text), "boltdb") {
		t.Error("bbolt is not go.etcd.io/bbolt: its namesakes have carried back doors")
	}
	var minor, patch int
	if _, err := fmt.Sscanf(versions["google.golang.org/grpc"], "v1.%d.%d", &minor, &patch); err != nil || minor < 80 && !(minor == 79 && patch >= 3) {
		t.Errorf("grpc %s lets calls with odd paths past its interceptors; 1.79.3 does not", versions["google.golang.org/grpc"])
	}
	if strings.Contains(string(text), "\nreplace ") {
		t.Error("go.mod replaces a module: what is built is not what go.sum vouches for")
	}
}

// TestSecurityTableNamesTests keeps docs/security.md true: each row names a test, and each test named is there.
func TestSecurityTableNamesTests(t *testing.T) {
	doc, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for name, text := range ruleFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(text, -1) {
				there[string(m[1])] = true
			}
		}
	}
	_, table, _ := strings.Cut(string(doc), "\n| threat |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if !strings.HasPrefix(line, "| ") || len(cells) != 5 {
			continue
		}
		rows++
		tests := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(cells[3], -1)
		if len(tests) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, m := range tests {
			if !there[m[1]] {
				t.Errorf("there is no %s", m[1])
			}
		}
	}
	if rows < 17 {
		t.Errorf("the table has %d rows", rows)
	}
}
