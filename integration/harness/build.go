package harness

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// binaries are the programs built in this run, one for each set of build tags.
var binaries struct {
	sync.Mutex
	dir  string
	path map[string]string
}

// Main runs the tests of a package that uses Binary. It removes the binaries that were built for them, and finds goroutines
// that nobody waited for.
func Main(m *testing.M) {
	dir, err := os.MkdirTemp("", "engram-sidecar-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "no place for the binaries:", err)
		os.Exit(1)
	}
	binaries.dir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir) // a temporary directory: the system clears it too
		os.Exit(code)
	}))
}

// BuildDir is the directory that Binary builds in, for what a test builds itself.
func BuildDir() string { return binaries.dir }

// Binary returns the path of engram-sidecar as it stands in the tree, built on first use with the given build tags,
// with -cover where GOCOVERDIR is set, and with -race where the tests run under the race detector: a Sidecar then fails its
// test when its log tells of a data race.
func Binary(t testing.TB, tags ...string) string {
	t.Helper()
	binaries.Lock()
	defer binaries.Unlock()
	key := strings.Join(tags, ",")
	if path, ok := binaries.path[key]; ok {
		return path
	}
	path := filepath.Join(binaries.dir, "engram-sidecar", key, "engram-sidecar")
	args := []string{"build", "-o", path, "-tags", key}
	if os.Getenv("GOCOVERDIR") != "" {
		args = append(args, "-cover", "-coverpkg=github.com/engram-sidecar/engram-sidecar/...")
	}
	if raceBuild {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar")...)
	var out bytes.Buffer
	build.Stdout, build.Stderr = &out, &out
	if err := build.Run(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	if binaries.path == nil {
		binaries.path = make(map[string]string)
	}
	binaries.path[key] = path
	return path
}

// Race says that the binary is built with the race detector, which takes memory and time that say nothing.
const Race = raceBuild
