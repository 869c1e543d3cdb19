package harness

import (
	"os"
	"os/exec"
	"testing"
)

// Tool returns the path of an outside program. Where the machine lacks it the test is skipped by its name and that of the
// Debian package that brings it; with REQUIRE_TOOLS=1 it fails.
func Tool(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("REQUIRE_TOOLS") == "1" {
		t.Fatalf("REQUIRE_TOOLS=1: %v: apt-get install %s", err, debian)
	}
	t.Skipf("needs %s, of Debian's package %s (REQUIRE_TOOLS=1 makes this a failure): %v", name, debian, err)
	return ""
}
