package recovery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// smallDisk mounts a file system in memory that has that many bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		if os.Getenv("REQUIRE_FAULTS") == "1" {
			t.Fatalf("REQUIRE_FAULTS=1: mounting a tmpfs: %v", err)
		}
		t.Skipf("a full disk: mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillUp writes a file until the disk has not one byte left.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// A full disk keeps nobody from starting and draining what is there: a torn tail is cut and damage is told, though there is
// no room for copies. When there is room again everything goes on.
func TestStartOnAFullDisk(t *testing.T) {
	from, all := history(t)
	disk := smallDisk(t, 2<<20)
	dir := filepath.Join(disk, "data")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.CopyFS(dir, os.DirFS(from))); err != nil {
		t.Fatal(err)
	}
	flip(t, dir, 2, false, all[2][0])
	overwrite(t, dir, 4, func(b []byte) []byte { return append(b, make([]byte, 9000)...) })
	ballast := filepath.Join(disk, "ballast")
	fillUp(t, ballast)
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
