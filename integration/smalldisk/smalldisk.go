// Package smalldisk gives tests a disk that is soon full: a file system in memory with so many bytes and inodes.
//
// What it promises: the disk is the test's alone and goes with it; where it cannot be mounted the test is skipped by its name,
// or fails with REQUIRE_FAULTS=1. What it assumes: Linux, and root. It has no goroutines; a crash of the test process leaves a
// mount below the temporary directory, which `umount` takes away. It imports nothing of ours, so that the tests of every room
// can use it.
package smalldisk

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// New mounts one that has that many bytes, and that many inodes where it is not 0, and returns where.
func New(t testing.TB, bytes int64, inodes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options(bytes, inodes)); err != nil {
		if os.Getenv("REQUIRE_FAULTS") == "1" {
			t.Fatalf("REQUIRE_FAULTS=1: mounting a tmpfs: %v", err)
		}
		t.Skipf("a small disk: mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting the tmpfs: %v", err)
		}
	})
	return dir
}

// Resize gives one of them another size.
func Resize(t testing.TB, dir string, bytes int64) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, options(bytes, 0)); err != nil {
		t.Fatalf("giving the tmpfs another size: %v", err)
	}
}

func options(bytes int64, inodes int) string {
	o := fmt.Sprintf("size=%d,mode=0700", bytes)
	if inodes > 0 {
		o += fmt.Sprintf(",nr_inodes=%d", inodes)
	}
	return o
}

// Fill writes to the end of a file until the disk has not one byte left.
func Fill(t testing.TB, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // what it holds is of no use to anybody
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
