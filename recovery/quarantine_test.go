package recovery

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestQuarantineIsBounded(t *testing.T) {
	dir := memoryDir(t)
	if err := os.MkdirAll(QuarantineDir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		name := fmt.Sprintf("torn-g%020d-20260101T0000%02d.000000000", 90-i, i) // the newest has the lowest number
		if err := os.WriteFile(filepath.Join(QuarantineDir(dir), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unfinished := filepath.Join(QuarantineDir(dir), fmt.Sprintf("damaged-g%020d-20260101T000059.000000000.tmp", 1))
	if err := os.WriteFile(unfinished, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if quarantined(dir, 1) {
		t.Fatal("a copy that was never finished counts as one")
	}
	if err := trimQuarantine(dir); err != nil {
		t.Fatal(err)
	}
	kept := quarantine(t, dir)
	if len(kept) != keepCopies-1 && len(kept) != keepCopies {
		t.Fatalf("%d copies kept, want at most %d", len(kept), keepCopies)
	}
	for _, name := range kept {
		if strings.HasSuffix(name, ".tmp") || strings.Contains(name, "T000000") {
			t.Errorf("kept %s", name)
		}
	}
}

func TestQuarantineIsBoundedInBytes(t *testing.T) {
	dir := memoryDir(t)
	if err := os.MkdirAll(QuarantineDir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		f, err := os.Create(filepath.Join(QuarantineDir(dir), fmt.Sprintf("torn-g%020d-2026010%dT000000.000000000", 1, i+1)))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(keepBytes/2 + 1); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if err := trimQuarantine(dir); err != nil {
		t.Fatal(err)
	}
	if kept := quarantine(t, dir); len(kept) != 1 || !strings.Contains(kept[0], "20260103") {
		t.Fatalf("kept %v", kept)
	}
}

// A segment is copied once, not at every start.
func TestDamageIsCopiedOnce(t *testing.T) {
	dir, all := history(t)
	flip(t, dir, 2, false, all[2][0])
	flip(t, dir, 3, false, all[3][0])
	h := openDir(t, dir)
	want := quarantine(t, dir)
	h.reopen()
	if got := quarantine(t, dir); len(got) != 2 || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("copies %v, at first %v", got, want)
	}
	b, err := os.ReadFile(want[0])
	if err != nil || string(b) != string(segment(t, dir, 2)) {
		t.Fatalf("the copy has %d bytes, %v", len(b), err)
	}
}
