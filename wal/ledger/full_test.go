package ledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/integration/smalldisk"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// While the ledger's disk is full the marks stay in memory, nothing is released, and the bound on letters holds; when there
// is room again all of it is written, as if nothing had been.
func TestFullDisk(t *testing.T) {
	disk := smalldisk.New(t, 1<<20, 0)
	s := newShopIn(t, disk)
	s.write(opened(1))
	all := s.fill(1, 0)
	s.flush()
	ballast := filepath.Join(disk, "ballast")
	smalldisk.Fill(t, ballast)
	s.deliver(1, all[2:]...)
	big := observed(1, 1)
	big.Payload = bytes.Repeat([]byte{1}, 25<<10)
	s.bury(all[0], big)
	s.Settle(all[1], id(1), wal.Dropped)
	n := uint64(len(all))
	want := wal.Tally{Accepted: n, Delivered: n - 2, Dead: 1, Dropped: 1}
	for range 3 {
		if err := s.Flush(); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("flush: %v", err)
		}
		s.round()
		s.left(1, 2)
		s.balanced(want)
		if l, err := s.Letter(all[0]); err != nil || len(l.Payload) != 25<<10 {
			t.Fatalf("letter %+v, %v", l, err)
		}
	}
	if !s.full {
		t.Fatal("nobody was told")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.round()
	s.left(2)
	if s.full {
		t.Fatal("it is still said to be full")
	}
	s.flush()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	k, err := readDisk(s.path(), testJournal)
	if err != nil || k.past.Total != want || !k.hasLetter(all[0]) {
		t.Fatalf("the file holds %+v, %v", k, err)
	}
}

// A directory whose disk is full opens all the same where there is a file, so that it can be drained.
func TestBuildOnAFullDisk(t *testing.T) {
	d := newDesk(t)
	disk := smalldisk.New(t, 1<<20, 0)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d.dir = disk
	d.load(nil)
	at := d.commit(observations(1, 2000)...)
	for _, i := range at[:1000] {
		d.Settle(i, id(1), wal.Delivered)
	}
	d.flush()
	more := d.commit(observations(2, 3)...)
	l := letterAt(more[0], observed(2, 1))
	l.Payload = bytes.Repeat([]byte{1}, 300<<10)
	d.commit(l.record())
	d.reload(func() { smalldisk.Fill(t, filepath.Join(disk, "ballast")) })
	want := wal.Tally{Accepted: 2003, Delivered: 1000, Dead: 1}
	d.balanced(want)
	if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
		t.Fatal(err)
	}
	d.flush()
	d.reload(nil)
	d.balanced(want)
}
