package recovery

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/smalldisk"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// A full disk keeps nobody from starting and draining what is there: a torn tail is cut and damage is told, though there is
// no room for copies. When there is room again everything goes on.
func TestStartOnAFullDisk(t *testing.T) {
	from, all := history(t)
	disk := smalldisk.New(t, 2<<20, 0)
	dir := filepath.Join(disk, "data")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.CopyFS(dir, os.DirFS(from))); err != nil {
		t.Fatal(err)
	}
	flip(t, dir, 2, false, all[2][0])
	overwrite(t, dir, 4, func(b []byte) []byte { return append(b, make([]byte, 9000)...) })
	ballast := filepath.Join(disk, "ballast")
	smalldisk.Fill(t, ballast)
	h := openDir(t, dir)
	h.balanced(balance(total(all), 0, 0, 1))
	if h.Report.Torn == nil || len(h.Report.Damages) != 1 || len(quarantine(t, dir)) != 0 {
		t.Fatalf("report %+v, quarantine %v", h.Report, quarantine(t, dir))
	}
	if err := h.Journal.Read([]uint64{all[1][0]}, func(*wal.Record) error { return nil }); err != nil {
		t.Fatal(err)
	}
	h.settle(1, wal.Delivered, all[1][0])
	h.close()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	h = openDir(t, dir)
	if h.Report.Torn != nil || len(h.Report.Damages) != 1 || len(quarantine(t, dir)) != 1 {
		t.Fatalf("report %+v, quarantine %v", h.Report, quarantine(t, dir))
	}
	h.write(1, h.session(1).Last+1, 10)
	h.balanced(balance(total(all)+1, h.Report.Balance.Delivered, 0, 1))
}
