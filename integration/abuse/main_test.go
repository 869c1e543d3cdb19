package abuse

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// TestMain removes the binaries that were built for this run, and finds goroutines that nobody waited for.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "engram-sidecar-abuse-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "abuse: no place for the binaries:", err)
		os.Exit(1)
	}
	harness.BuildIn(dir)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir) // a temporary directory: the system clears it too
		os.Exit(code)
	}))
}
