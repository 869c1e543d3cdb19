package tools

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// govulncheck looks at what a package is built of, function by function, in a database of what is known to be wrong.
func govulncheck(t *testing.T, pkg string, flags ...string) (said string, code int) {
	t.Helper()
	at := filepath.Join("..", "..", ".tools", "bin", "govulncheck")
	if _, err := os.Stat(at); err != nil {
		if os.Getenv("REQUIRE_TOOLS") == "1" {
			t.Fatalf("REQUIRE_TOOLS=1: %v: .ci/tools govulncheck", err)
		}
		t.Skipf("needs govulncheck: .ci/tools govulncheck (REQUIRE_TOOLS=1 makes this a failure)")
	}
	at, err := filepath.Abs(at)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(at, append(flags, pkg)...)
	c.Dir = filepath.Join("..", "..")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	_ = c.Run() // the exit code is looked at
	return out.String(), c.ProcessState.ExitCode()
}

// TestNothingKnownToBeWrongIsCalled asks Go's database. Where that cannot be reached there is nothing to say.
func TestNothingKnownToBeWrongIsCalled(t *testing.T) {
	switch said, code := govulncheck(t, "./cmd/engram-sidecar"); {
	case strings.Contains(said, "fetching vulnerabilities"):
		t.Skipf("Go's vulnerability database cannot be reached from here: %s", strings.TrimSpace(said))
	case code != 0:
		t.Errorf("govulncheck ended with %d: %s", code, said)
	}
}

// TestWhatIsKnownToBeWrongIsFound shows that the test above can fail: in a database that is made up, a function that our ledger
// calls is wrong, and one that it does not call.
func TestWhatIsKnownToBeWrongIsFound(t *testing.T) {
	said, code := govulncheck(t, "./wal/ledger", "-db", "file://"+madeUpDatabase(t, map[string]string{"GO-2026-99998": "Open", "GO-2026-99999": "DB.GoString"}))
	if code != 3 || !strings.Contains(said, "GO-2026-99998") || strings.Contains(said, "GO-2026-99999") {
		t.Errorf("ended with %d, want 3 and the first of the two: %s", code, said)
	}
}

// madeUpDatabase says of functions of bbolt that they are wrong.
func madeUpDatabase(t *testing.T, wrong map[string]string) string {
	t.Helper()
	type m = map[string]any
	const when, module = "2026-01-01T00:00:00Z", "go.etcd.io/bbolt"
	files, known := m{"index/db.json": m{"modified": when}}, []m{}
	for id, symbol := range wrong {
		known = append(known, m{"id": id, "modified": when})
		files["ID/"+id+".json"] = m{
			"schema_version": "1.3.1", "id": id, "modified": when, "published": when, "summary": "made up", "details": "made up",
			"affected": []m{{
				"package":            m{"name": module, "ecosystem": "Go"},
				"ranges":             []m{{"type": "SEMVER", "events": []m{{"introduced": "0"}}}},
				"ecosystem_specific": m{"imports": []m{{"path": module, "symbols": []string{symbol}}}},
			}},
			"database_specific": m{"url": "https://localhost/" + id},
		}
	}
	files["index/modules.json"], files["index/vulns.json"] = []m{{"path": module, "vulns": known}}, known
	dir := t.TempDir()
	for name, content := range files {
		text, err := json.Marshal(content)
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
