package recovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// kept is what no damage to the ledger's file may take: everything but the knowledge of what was delivered of generations
// that are still there.
type kept struct {
	balance  ledger.Balance
	sessions map[wal.SessionID]ledger.Session
	letters  map[uint64]bool // every dead letter is one still, or waits to be delivered again
	pending  map[uint64]bool
	again    uint64 // so many at most are delivered again
}

func keep(h *opened) *kept {
	k := &kept{balance: h.Ledger.Balance(), sessions: map[wal.SessionID]ledger.Session{}, letters: map[uint64]bool{}, pending: map[uint64]bool{}}
	for _, s := range h.Ledger.Sessions() {
		k.sessions[s.ID] = s
	}
	for _, i := range h.Ledger.Letters() {
		k.letters[i] = true
	}
	for _, i := range mustPending(h) {
		k.pending[i] = true
	}
	_, released := h.Journal.Totals()
	k.again = k.balance.Accepted - k.balance.Pending - released.Accepted
	return k
}

func (k *kept) check(t *testing.T, how string, h *opened) {
	t.Helper()
	b := h.Ledger.Balance()
	if b.Accepted != k.balance.Accepted || b.Damaged != k.balance.Damaged || len(h.Report.Damages) != 0 {
		t.Fatalf("%s: balance %+v, was %+v; damages %v", how, b, k.balance, h.Report.Damages)
	}
	if b.Pending > k.balance.Pending+k.again || b.Accepted != b.Delivered+b.Dead+b.Dropped+b.Damaged+b.Pending {
		t.Fatalf("%s: %+v: %d were pending, and %d settled in generations that are there", how, b, k.balance.Pending, k.again)
	}
	if len(h.Sessions) != len(k.sessions) {
		t.Fatalf("%s: %d sessions, were %d", how, len(h.Sessions), len(k.sessions))
	}
	for _, s := range h.Sessions {
		if w := k.sessions[s.ID]; s.Last != w.Last || s.Space != w.Space || s.Lane != w.Lane || s.Closed != w.Closed || !s.ClosedAt.Equal(w.ClosedAt) {
			t.Fatalf("%s: session %+v, was %+v", how, s, w)
		}
	}
	waiting := map[uint64]bool{}
	for _, i := range h.indexes() {
		waiting[i] = true
	}
	for i := range k.pending {
		if !waiting[i] {
			t.Fatalf("%s: index %d was pending, and is not", how, i)
		}
	}
	for i := range k.letters {
		if _, err := h.Ledger.Letter(i); err != nil && !waiting[i] {
			t.Fatalf("%s: dead letter %d is neither there nor waits: %v", how, i, err)
		}
	}
}

// account is a directory with a past and a ledger's file of several pages.
func account(t *testing.T) (dir string, k *kept) {
	t.Helper()
	h, stuck := lived(t)
	for n := byte(2); n < 40; n++ {
		h.begin(n)
	}
	h.journal(wal.Record{Kind: wal.KindSessionClosed, Session: id(9), Space: "default", Lane: wal.LaneNormal})
	h.journal(wal.Record{Kind: wal.KindSessionExpired, Session: id(10)})
	h.bury(stuck, 1, 14, "no")
	h.round() // carries the letter, and releases what held it
	for i := range uint64(20) {
		at := h.write(2, i+1, 10)
		if i%2 == 0 {
			h.bury(at, 2, i+1, "never")
		} else {
			h.settle(2, wal.Delivered, at)
		}
	}
	h.flush()
	if len(h.Ledger.Letters()) != 11 {
		t.Fatalf("letters %v", h.Ledger.Letters())
	}
	return h.crash(), keep(h)
}

func TestDamagedLedgerFile(t *testing.T) {
	dir, k := account(t)
	path := filepath.Join(dir, ledger.FileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(dir, "journal")
	lost := 0
	try := func(how string, content []byte) {
		t.Helper()
		to := memoryDir(t)
		defer os.RemoveAll(to)
		err := os.WriteFile(filepath.Join(to, ledger.FileName), content, 0o600)
		err = errors.Join(err, os.CopyFS(JournalDir(to), os.DirFS(journal)))
		text, readErr := os.ReadFile(filepath.Join(dir, "FORMAT"))
		if err := errors.Join(err, readErr, os.WriteFile(filepath.Join(to, "FORMAT"), text, 0o600)); err != nil {
			t.Fatal(err)
		}
		h := openDir(t, to)
		k.check(t, how, h)
		if h.Report.Ledger != nil {
			lost++
		}
		h.round()
		h = h.reopen()
		if h.Report.Ledger != nil {
			t.Fatalf("%s: second start: %v", how, h.Report.Ledger)
		}
		k.check(t, how+", second start", h)
		h.close()
	}
	for size := 0; size < len(whole); size += 512 {
		try(fmt.Sprint("cut at ", size), whole[:size])
	}
	for at := 0; at < len(whole); at += 4096 {
		b := append([]byte(nil), whole...)
		clear(b[at : at+4096])
		try(fmt.Sprint("zeros at ", at), b)
	}
	for at := 3; at < len(whole); at += 997 {
		b := append([]byte(nil), whole...)
		b[at] ^= 0x11
		try(fmt.Sprint("byte ", at), b)
	}
	if lost < 80 {
		t.Fatalf("the ledger was lost %d times: nothing is tested", lost)
	}
}

// A ledger that a newer version wrote is refused before anything is touched, be its journal of this version.
func TestNewerLedgerIsRefusedUntouched(t *testing.T) {
	dir, _ := history(t)
	db, err := bbolt.Open(filepath.Join(dir, ledger.FileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		value := []byte{0, 0, 0, 0, 0, 0, 0, ledger.FormatVersion + 1}
		sum := crc32.Checksum(append([]byte("format"), value...), crc32.MakeTable(crc32.Castagnoli))
		return tx.Bucket([]byte("meta")).Put([]byte("format"), binary.LittleEndian.AppendUint32(value, sum))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	overwrite(t, dir, 4, func(b []byte) []byte { return append(b, 1, 2, 3) }) // which would be cut
	before := hash(t, dir)
	if _, err := Open(small(dir)); !errors.Is(err, wal.ErrNewerFormat) {
		t.Fatalf("open: %v", err)
	}
	if hash(t, dir) != before {
		t.Fatal("the refused directory was changed")
	}
}
