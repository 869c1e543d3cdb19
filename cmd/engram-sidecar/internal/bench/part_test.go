package bench

import (
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"
)

// TestAPartThatIsDoneWaitsForItsParent: what a process has used can be read only while it is there.
func TestAPartThatIsDoneWaitsForItsParent(t *testing.T) {
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- RunPart(context.Background(), in, out)
		_ = out.Close()
	}()
	l := quick()
	l.Duration = 20 * time.Millisecond
	if err := json.NewEncoder(stdin).Encode(part{Role: roleFile, Dir: t.TempDir(), Batch: 1, Load: l}); err != nil {
		t.Fatal(err)
	}
	for lines := json.NewDecoder(stdout); ; {
		var e event
		if err := lines.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if e.Result != nil {
			break
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended before its parent let it: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
