package wal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestScanOpenReadsAFileThatGrows(t *testing.T) {
	seg := small()
	for records, size := range seg.boundaries { // as long as it was when somebody looked
		s, err := ScanOpen(bytes.NewReader(seg.data), int64(size), "segment", testJournal, 1, nil)
		if err != nil || s.Records != records || len(s.Damages) != 0 || s.Path != "segment" {
			t.Errorf("%d bytes: %v, %+v", size, err, s)
		}
	}
	s, err := ScanOpen(bytes.NewReader(seg.data), int64(len(seg.data))+100, "segment", testJournal, 1, nil)
	if err != nil || s.Records != len(seg.records) { // it was cut since
		t.Errorf("%v, %+v", err, s)
	}
	bad := &badSector{b: seg.data, from: 0, to: 1}
	if _, err := ScanOpen(bad, 10, "segment", testJournal, 1, nil); !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
}

// Somebody who looks all the time keeps nobody from starting.
func TestLookingKeepsNobodyFromTheLock(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := LockHolder(dir); err != nil {
				t.Error(err)
			}
		}
	})
	for range 200 {
		lock, err := AcquireLock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
}

func TestLockHolderOnlyLooks(t *testing.T) {
	dir := t.TempDir()
	if who, err := LockHolder(dir); who != "" || err != nil {
		t.Errorf("a directory that nobody ever locked: %q, %v", who, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("looking has made %v, %v", entries, err)
	}
	lock, err := AcquireLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := LockHolder(dir); who != fmt.Sprintf("process %d", os.Getpid()) || err != nil {
		t.Errorf("%q, %v", who, err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if who, err := LockHolder(dir); who != "" || err != nil {
		t.Errorf("its holder is gone: %q, %v", who, err)
	}
	if lock, err = AcquireLock(dir); err != nil { // looking holds nothing for longer
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	linked := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "LOCK"), filepath.Join(linked, "LOCK")); err != nil {
		t.Fatal(err)
	}
	if _, err := LockHolder(linked); !errors.Is(err, unix.ELOOP) {
		t.Error(err)
	}
}
