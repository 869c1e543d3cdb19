package recovery

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// TestMissingSegmentLeavesNothingToKeep: a living generation whose segment is gone was once a reason not to start.
func TestMissingSegmentLeavesNothingToKeep(t *testing.T) {
	dir := t.TempDir()
	p := &plan{dataDir: dir, journalDir: JournalDir(dir), log: hclog.NewNullLogger()}
	if err := os.MkdirAll(wal.GenerationDir(p.journalDir, 7), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.keepCopy(7); err != nil {
		t.Fatalf("%v: expected a start to go on", err)
	}
	kept, err := filepath.Glob(filepath.Join(QuarantineDir(dir), "*"))
	if err != nil || len(kept) != 0 {
		t.Fatalf("kept %v, %v: expected nothing", kept, errors.Unwrap(err))
	}
}
