package recovery

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

func balance(accepted, delivered, dead, damaged uint64) ledger.Balance {
	t := wal.Tally{Accepted: accepted, Delivered: delivered, Dead: dead, Damaged: damaged}
	return ledger.Balance{Tally: t, Pending: t.Pending()}
}

func TestFreshDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "engram")
	h := openDir(t, dir)
	if !h.Report.Fresh || h.Report.String() != "new data directory" || len(h.Sessions)+len(h.Pending) != 0 || h.Report.Ledger != nil {
		t.Fatalf("report %+v", h.Report)
	}
	h.balanced(ledger.Balance{})
	for _, path := range []string{"", "journal", "FORMAT", "ledger.db", "LOCK"} {
		fi, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
	}
	h = h.reopen()
	if h.Report.Fresh || h.Report.Ledger != nil || len(h.Report.Damages) != 0 || h.Report.Torn != nil {
		t.Fatalf("report of the second start %+v", h.Report)
	}
}

func TestReopenGoesOnWhereItStopped(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	for i := range uint64(10) {
		index := h.write(1, i+1, 10)
		if i < 4 {
			h.settle(1, wal.Delivered, index)
		}
	}
	h = h.reopen()
	if s := h.session(1); s.Last != 10 || s.Space != "default" || s.Lane != wal.LaneNormal || s.Closed {
		t.Fatalf("session %+v", s)
	}
	h.balanced(balance(10, 4, 0, 0))
	if want := []uint64{7, 8, 9, 10, 11, 12}; !slices.Equal(h.indexes(), want) {
		t.Fatalf("the queue begins with %v, want %v", h.indexes(), want)
	}
	if h.Report.Lost != 0 || h.Report.Sessions != 1 || h.Report.Records != 12 || h.Report.Generations != 1 {
		t.Fatalf("report %+v", h.Report)
	}
	if want := "recovered 1 sessions and 6 pending of 10 accepted from 1 generations"; !strings.HasPrefix(h.Report.String(), want) {
		t.Fatalf("report %q, want %q…", h.Report.String(), want)
	}
	if i := h.write(1, 11, 10); i != 14 { // 13 is the head of the new generation
		t.Fatalf("the next write has index %d", i)
	}
}

// The proxy journals a close without a payload, and so may others: the record's own time is when it was.
func TestCloseNeedsNoPayload(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	h.write(1, 1, 10)
	r := h.journal(wal.Record{Kind: wal.KindSessionClosed, Session: id(1), Space: "default", Lane: wal.LaneNormal, Sequence: 1})
	for range 2 {
		if s := h.session(1); len(h.Sessions) > 0 && (!s.Closed || s.ClosedAt.UnixNano() != r.Time || s.Last != 1) {
			t.Fatalf("session %+v, closed at %d", s, r.Time)
		}
		h = h.reopen()
	}
	if s := h.session(1); !s.Closed {
		t.Fatalf("session %+v", s)
	}
}

// A record whose frame is whole and whose payload is none of its kind must not keep a directory from opening.
func TestUnknownPayloadIsReportedAndPassedOver(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	bad := h.journal(wal.Record{Kind: wal.KindSettled, Payload: []byte("?")})
	h.write(1, 1, 10)
	h = h.reopen()
	if len(h.Report.Damages) != 1 || h.Report.Damages[0].First != bad.Index || h.Report.Damages[0].Kind != wal.KindSettled {
		t.Fatalf("damages %v", h.Report.Damages)
	}
	if s := h.session(1); s.Last != 1 || h.Report.Lost != 0 {
		t.Fatalf("session %+v, %d lost", s, h.Report.Lost)
	}
}

func TestDirectoryInUse(t *testing.T) {
	h := openDir(t, memoryDir(t))
	if _, err := Open(small(h.dir)); !errors.Is(err, wal.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Fatalf("second open: %v", err)
	}
	h = h.reopen() // the lock is given back
	h.begin(1)
}

func TestDirectoryOfOthersIsRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o770, 0o707, 0o777} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(small(dir)); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "chmod go-w") {
			t.Errorf("mode %v: %v", mode, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("mode %v: left %v, %v", mode, left, err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory to another user")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(small(dir)); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "user 12345") {
		t.Errorf("owned by another: %v", err)
	}
}

func TestDirectoryThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(small(filepath.Join(file, "data"))); err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Fatalf("below a file: %v", err)
	}
}

func TestNewerFormatIsRefusedUntouched(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	h.close()
	text, err := os.ReadFile(filepath.Join(h.dir, "FORMAT"))
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(text), "format 1", "format 2", 1)
	if err := os.WriteFile(filepath.Join(h.dir, "FORMAT"), []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	before := hash(t, h.dir)
	if _, err := Open(small(h.dir)); !errors.Is(err, wal.ErrNewerFormat) {
		t.Fatalf("open: %v", err)
	}
	if hash(t, h.dir) != before {
		t.Fatal("the refused directory was changed")
	}
}

func TestOnCommitComesAfterTheLedger(t *testing.T) {
	var h *opened
	var accepted []uint64
	o := small(memoryDir(t))
	o.Journal.OnCommit = func(*wal.Commit) { accepted = append(accepted, h.Ledger.Balance().Accepted) }
	h = openWith(t, o)
	h.begin(1)
	h.write(1, 1, 10)
	h.close()
	if len(accepted) != 2 || accepted[1] != 1 {
		t.Fatalf("accepted at the commits: %v", accepted)
	}
}
