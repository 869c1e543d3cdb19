package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

func TestBackupAndRestore(t *testing.T) {
	dir, backup, again := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "a", "b")
	r := serveHere(t, dir)
	call("rain\nsnow\n", "observe", "--addr", r.address, "--drain", "--id-prefix", "n").wants(t, 0, "acked 2", "")
	call("", "backup", backup, "--data-dir", dir).wants(t, 0, "backed up "+dir+" to "+backup, "")
	before := hashOf(t, backup)
	call("", "backup", backup, "--data-dir", dir).wants(t, exitConfig, "", "directory not empty")
	call("", "restore", backup, "--data-dir", dir).wants(t, exitConfig, "", "directory not empty")
	if hashOf(t, backup) != before {
		t.Error("a backup that was refused has changed the one before")
	}
	if code := r.stop(); code != 0 {
		t.Fatalf("stopped with %d", code)
	}
	call("", "restore", backup, "--data-dir", dir).wants(t, exitConfig, "", "directory not empty")
	call("", "restore", backup, "--data-dir", again).wants(t, 0, "restored "+backup+" to "+again, "")
	r = serveHere(t, again)
	call("", "recall", "--addr", r.address, "-k", "1", "snow").wants(t, 0, "snow", "")
	call("hail\n", "observe", "--addr", r.address, "--drain", "--id-prefix", "n").wants(t, 0, "acked 1", "")
	if s := r.status(); s.Store.Stored != 2 || s.Balance.Accepted != 3 { // hail has the id of rain, and is the newer one
		t.Errorf("stored %d of %+v, want 2 of 3", s.Store.Stored, s.Balance)
	}
	call("", "recall", "--addr", r.address, "-k", "1", "hail").wants(t, 0, "hail", "")
}

func TestABackupCutShortIsSaid(t *testing.T) {
	dir, backup := threeNotes(t), filepath.Join(t.TempDir(), "backup")
	over, cancel := context.WithCancel(context.Background())
	cancel()
	var out, said strings.Builder
	p := program{stdin: strings.NewReader(""), stdout: &out, stderr: &said}
	if code := p.run(over, []string{"backup", backup, "--data-dir", dir}); code == 0 || !strings.Contains(said.String(), "before it is used") {
		t.Errorf("code %d, %q", code, said.String())
	}
	call("", "restore", backup, "--data-dir", filepath.Join(t.TempDir(), "x")).wants(t, exitConfig, "", "unfinished copy")
}
