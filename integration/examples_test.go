package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// examples are the clients that users begin from, each with how a user makes it ready and starts it. What is made stays in
// the example's folder, as it does for a user.
var examples = []struct {
	name    string
	needs   []string // programs that the machine may not have
	prepare []string
	run     []string
}{
	{"go", []string{"go"}, []string{"go", "build", "-o", "../../../bin/example-go", "."}, []string{"../../../bin/example-go"}},
	{"node", []string{"node", "npm"}, []string{"npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"}, []string{"node", "client.mjs"}},
	{
		"python",
		[]string{"python3"},
		[]string{"bash", "-c", "python3 -m venv .venv && .venv/bin/pip install -q --disable-pip-version-check -r requirements.txt"},
		[]string{".venv/bin/python", "client.py"},
	},
}

// TestExampleClients runs each example as a user would, against a sidecar that is killed under it and started again: the
// client resumes its session, gets every ack, and recalls what it said.
func TestExampleClients(t *testing.T) {
	for _, example := range examples {
		t.Run(example.name, func(t *testing.T) {
			dir := filepath.Join("..", "examples", "streaming", example.name)
			prepareExample(t, dir, example.needs, example.prepare)
			s := harness.NewSidecar(t, harness.Binary(t))
			s.Start()
			text := runExample(t, s, dir, append(example.run, s.Listen))
			for _, want := range []string{": 1000 acked\n", "recalled: observation number 42\n"} {
				if !strings.Contains(text, want) {
					t.Errorf("expected %q in:\n%s", want, text)
				}
			}
			if b := s.Drained(); b.Accepted != 1000 {
				t.Errorf("balance %+v, expected 1000 accepted: each once", b)
			}
		})
	}
}

// prepareExample skips where this machine lacks what the example is made with; with REQUIRE_TOOLS=1 it fails.
func prepareExample(t *testing.T, dir string, needs, prepare []string) {
	t.Helper()
	lacking := t.Skipf
	if os.Getenv("REQUIRE_TOOLS") == "1" {
		lacking = t.Fatalf
	}
	for _, program := range needs {
		if _, err := exec.LookPath(program); err != nil {
			lacking("the example needs %s: %v", program, err)
		}
	}
	c := exec.Command(prepare[0], prepare[1:]...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		lacking("%s: %v\n%s", strings.Join(prepare, " "), err, out)
	}
}

// runExample kills the sidecar once the client has an ack, and again and again while it goes on, and returns what it said.
func runExample(t *testing.T, s *harness.Sidecar, dir string, command []string) string {
	t.Helper()
	example := harness.Command(t, command[0], command[1:]...)
	example.Dir = dir
	var out bytes.Buffer
	example.Stdout, example.Stderr = &out, &out
	if err := example.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- example.Wait() }() // ends with the example, for which this waits below
	s.Await("the client's first observations", func() (bool, error) {
		b, err := s.Balance()
		return b.Accepted > 0, err
	})
	for range 3 {
		s.Kill()
		s.Start()
	}
	if err := <-done; err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "resuming") {
		t.Logf("the client was done before the first kill:\n%s", out.String())
	}
	return out.String()
}
