package recovery

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// The FORMAT file can be lost or damaged: the generations' heads tell whose they are.
func TestFormatIsFoundInTheHeads(t *testing.T) {
	dir, all := history(t)
	whole, err := wal.ReadFormat(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"lost":           "",
		"damaged":        "engram-side%ar format 1",
		"empty":          " ",
		"another's":      "engram-sidecar format 1 journal 7b1a2f0e-0000-4000-8000-000000000001\n",
		"another, heads": "engram-sidecar format 1 journal 7b1a2f0e-0000-4000-8000-000000000001\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, dir)
			path := filepath.Join(dir, "FORMAT")
			if text == "" {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, []byte(text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			damages := 0
			if name == "another, heads" { // that of the newest does not tell
				hurtHead(t, dir, 4)
				damages = 1
			}
			r := openDir(t, dir)
			if f, err := wal.ReadFormat(dir); err != nil || f != whole {
				t.Fatalf("format %+v, %v, want %+v", f, err, whole)
			}
			r.balanced(balance(total(all), 0, 0, 0))
			if r.Report.Fresh || r.Report.Ledger != nil || len(r.Report.Damages) != damages {
				t.Fatalf("report %+v", r.Report)
			}
		})
	}
}

// Generations that no one can say whose they are, are not taken for empty ones.
func TestGenerationsOfNobodyAreRefused(t *testing.T) {
	dir, _ := history(t)
	hurtHead(t, dir, 1, 2, 3, 4)
	if err := os.Remove(filepath.Join(dir, "FORMAT")); err != nil {
		t.Fatal(err)
	}
	before := hash(t, dir)
	if _, err := Open(small(dir)); err == nil || !strings.Contains(err.Error(), "restore the FORMAT file") {
		t.Fatalf("open: %v", err)
	}
	if hash(t, dir) != before {
		t.Fatal("the refused directory was changed")
	}
}

func TestNewerFrameIsRefusedUntouched(t *testing.T) {
	dir, _ := history(t)
	f, err := wal.ReadFormat(dir)
	if err != nil {
		t.Fatal(err)
	}
	newer := f
	newer.Version = 2
	if err := wal.WriteFormat(dir, newer); err != nil {
		t.Fatal(err)
	}
	before := hash(t, dir)
	for range 2 {
		if _, err := Open(small(dir)); !errors.Is(err, wal.ErrNewerFormat) || !strings.Contains(err.Error(), "run the version that wrote it") {
			t.Fatalf("open: %v", err)
		}
	}
	if hash(t, dir) != before {
		t.Fatal("the refused directory was changed")
	}
}

// The ledger of another journal is not believed: it is set aside, and the account is built from the journal.
func TestLedgerOfAnotherJournal(t *testing.T) {
	dir, all := history(t)
	other, _ := history(t)
	b, err := os.ReadFile(filepath.Join(other, ledger.FileName))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, ledger.FileName), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := openDir(t, dir)
	if !errors.Is(r.Report.Ledger, ledger.ErrDamaged) || !strings.Contains(r.Report.Ledger.Error(), "another journal") {
		t.Fatalf("report %+v", r.Report)
	}
	if !strings.Contains(r.Report.String(), "; ledger built anew") {
		t.Fatalf("report %q", r.Report.String())
	}
	r.balanced(balance(total(all), 0, 0, 0))
	if aside, err := os.ReadFile(filepath.Join(dir, ledger.FileName+".damaged")); err != nil || string(aside) != string(b) {
		t.Fatalf("set aside: %d bytes, %v", len(aside), err)
	}
}

// A generation of another directory that was put here is no part of this one, and does not make the rest foreign.
func TestGenerationOfAnotherJournal(t *testing.T) {
	dir, all := history(t)
	other, _ := history(t)
	if err := os.CopyFS(wal.GenerationDir(JournalDir(dir), 77), os.DirFS(wal.GenerationDir(JournalDir(other), 1))); err != nil {
		t.Fatal(err)
	}
	r := openDir(t, dir)
	r.balanced(balance(total(all), 0, 0, 0))
	if len(quarantine(t, dir)) != 1 || r.Report.Ledger != nil {
		t.Fatalf("report %+v, quarantine %v", r.Report, quarantine(t, dir))
	}
}

// A ledger that is found damaged only when it is to be written is set aside, and the start goes on without it.
func TestLedgerDamagedWhileItIsOpened(t *testing.T) {
	dir, all := history(t)
	o := small(dir)
	hurt := false
	o.stop = func(step) error {
		if hurt {
			return nil
		}
		hurt = true
		return os.WriteFile(filepath.Join(dir, ledger.FileName), []byte("no database"), 0o600)
	}
	r := openWith(t, o)
	r.balanced(balance(total(all), 0, 0, 0))
	if !errors.Is(r.Report.Ledger, ledger.ErrDamaged) {
		t.Fatalf("report %+v", r.Report)
	}
	if b, err := os.ReadFile(filepath.Join(dir, ledger.FileName+".damaged")); err != nil || string(b) != "no database" {
		t.Fatalf("set aside %q, %v", b, err)
	}
}
