package recovery

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// golden is a copy of the whole data directory in testdata that a format version wrote. Its files never change.
func golden(t *testing.T, format int) string {
	t.Helper()
	dir := memoryDir(t)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", fmt.Sprintf("format-%d", format)))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { // git keeps no such modes
		t.Fatal(err)
	}
	return dir
}

// writeGolden is the life that testdata/format-1 holds: two sessions, one of them closed, a
// generation that was released after a dead letter and a session were carried out of it, one observation dropped by an
// operator, three pending. The process ended without a word.
func writeGolden(h *opened) {
	h.begin(1)
	h.begin(2)
	h.write(2, 1, 10)
	h.journal(wal.Record{Kind: wal.KindSessionClosed, Session: id(2), Space: "default", Lane: wal.LaneNormal, Sequence: 1})
	first := h.generation(1, 1)
	h.settle(2, wal.Delivered, first[0]-2)
	h.bury(first[1], 1, 2, "embedding: refused")
	h.bury(first[2], 1, 3, "what: refused")
	h.settle(1, wal.Delivered, append([]uint64{first[0]}, first[3:]...)...)
	h.round()
	h.round()
	if err := h.Ledger.Resolve(h.t.Context(), h.Journal, first[2], wal.Dropped); err != nil {
		h.t.Fatal(err)
	}
	last := uint64(len(first))
	for n := uint64(1); n <= 3; n++ {
		h.write(1, last+n, 100)
	}
	h.flush()
}

// A directory of format 1 opens for ever, with its ledger and without: the same sessions, letters, balance, and every byte
// that waits; and so does one that this build writes. If this fails, mend the code; the files in testdata/format-1 never
// change.
func TestGoldenDirectoryOfFormat1(t *testing.T) {
	for _, origin := range []string{"written by the first release", "written now"} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, ledger lost %v", origin, lost), func(t *testing.T) {
				dir := golden(t, 1)
				if origin == "written now" {
					h := openDir(t, memoryDir(t))
					writeGolden(h)
					dir = h.crash()
				}
				if lost {
					loseLedger(t, dir)
				}
				checkGolden(t, dir, lost)
			})
		}
	}
}

func checkGolden(t *testing.T, dir string, lost bool) {
	t.Helper()
	h := openDir(t, dir)
	if (h.Report.Ledger != nil) != lost || len(h.Report.Damages) != 0 || h.Report.Torn != nil {
		t.Fatalf("report %+v", h.Report)
	}
	last := h.session(1).Last
	if last < 6 || h.session(1).Closed || h.session(2).Last != 1 || !h.session(2).Closed {
		t.Fatalf("sessions %+v", h.Sessions)
	}
	want := wal.Tally{Accepted: last + 1, Delivered: last + 1 - 5, Dead: 1, Dropped: 1}
	if lost { // the last write that was delivered is in a generation that is not released: only the file knows of it
		want.Delivered--
	}
	h.balanced(ledger.Balance{Tally: want, Pending: want.Pending()})
	letters := h.Ledger.Letters()
	if len(letters) != 1 {
		t.Fatalf("letters %v", letters)
	}
	if l, err := h.Ledger.Letter(letters[0]); err != nil || l.Reason != "embedding: refused" || l.Sequence != 2 || !bytes.Equal(l.Payload, observation(1, 2, 300).Payload) {
		t.Fatalf("letter %+v, %v", l, err)
	}
	checkWaiting(h, last)
	h.write(1, last+1, 10)
	h = h.reopen()
	if h.session(1).Last != last+1 {
		t.Fatalf("session %+v after one more observation", h.session(1))
	}
}

// checkWaiting reads the three observations that wait.
func checkWaiting(h *opened, last uint64) {
	h.t.Helper()
	waiting := h.indexes()
	var read []uint64
	err := h.Journal.Read(waiting[max(len(waiting)-3, 0):], func(r *wal.Record) error {
		if want := observation(1, r.Sequence, 100); !bytes.Equal(r.Payload, want.Payload) || !bytes.Equal(r.ID, want.ID) {
			h.t.Errorf("record %+v", r)
		}
		read = append(read, r.Sequence)
		return nil
	})
	if err != nil || !slices.Equal(read, []uint64{last - 2, last - 1, last}) {
		h.t.Fatalf("read %v, %v", read, err)
	}
}
