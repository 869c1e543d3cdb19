package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Build tags of sidecars that break one promise each. The tests that use them show that the suite finds out.
const (
	faultAckBeforeSync = "fault_ack_before_sync" // acks what only memory holds
	faultNoDedupe      = "fault_no_dedupe"       // gives every delivery a memory id of its own
)

// binaries are the programs built in this run, one for each set of build tags, in the directory that TestMain removes.
var binaries struct {
	sync.Mutex
	dir  string
	path map[string]string
}

// binary returns the path of engram-sidecar as it stands in the tree, built on first use.
func binary(t testing.TB, tags ...string) string {
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
	build := exec.Command("go", append(args, "./cmd/engram-sidecar")...)
	build.Dir = ".."
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
