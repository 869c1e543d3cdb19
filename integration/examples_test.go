package integration

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// TestExampleClientResumesAfterAKill runs the example as a user would, and kills the sidecar under it.
func TestExampleClientResumesAfterAKill(t *testing.T) {
	bin := t.TempDir() + "/example"
	if out, err := exec.Command("go", "build", "-o", bin, "../examples/streaming/go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := harness.NewSidecar(t, harness.Binary(t))
	s.Start()
	example := harness.Command(t, bin, s.Listen)
	done := make(chan struct{})
	var out []byte
	var err error
	go func() { // ends with the example; the test waits for it
		defer close(done)
		out, err = example.CombinedOutput()
	}()
	for range 3 {
		s.Kill()
		s.Start()
	}
	<-done
	text := string(out)
	if err != nil || !strings.Contains(text, "1000 acked") || !strings.Contains(text, "recalled: observation number 42\n") {
		t.Fatalf("%v\n%s", err, text)
	}
}
