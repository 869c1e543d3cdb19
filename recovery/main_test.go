package recovery

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(openAndDieEnv); dir != "" {
		openAndDie(dir)
	}
	goleak.VerifyTestMain(m)
}

// small makes generations small, so that a few writes fill one.
func small(dir string) Options {
	return Options{DataDir: dir, Journal: wal.Config{GenerationBytes: 64 << 10}}
}

// opened is a data directory in use by a test.
type opened struct {
	*State
	t   testing.TB
	dir string
}

func openDir(t testing.TB, dir string) *opened { t.Helper(); return openWith(t, small(dir)) }

func openWith(t testing.TB, o Options) *opened {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	h := &opened{State: s, t: t, dir: o.DataDir}
	t.Cleanup(h.close)
	return h
}

// close closes in good order, once.
func (h *opened) close() {
	h.t.Helper()
	if h.State == nil {
		return
	}
	if err := h.Close(); err != nil {
		h.t.Error(err)
	}
	h.State = nil
}

// reopen closes in good order and opens again.
func (h *opened) reopen() *opened { h.t.Helper(); h.close(); return openDir(h.t, h.dir) }

// crash gives what a kill would leave: a copy of the files as they are now. The process lives on with its own.
func (h *opened) crash() string { h.t.Helper(); return copyDir(h.t, h.dir) }

func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := memoryDir(t)
	if err := os.Chmod(to, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// memoryDir is a fresh directory in memory where there is such a file system: what is tested is what was written, and an
// fsync to a disk would be most of the time.
func memoryDir(t testing.TB) string {
	t.Helper()
	const memory = "/dev/shm"
	if fi, err := os.Stat(memory); err != nil || !fi.IsDir() {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "recovery-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func id(n byte) wal.SessionID { return wal.SessionID{0: n, 15: 1} }

// begin opens session n.
func (h *opened) begin(n byte) wal.SessionID {
	h.t.Helper()
	h.journal(wal.Record{Kind: wal.KindSessionOpened, Session: id(n), Space: "default", Lane: wal.LaneNormal})
	return id(n)
}

func (h *opened) journal(r wal.Record) wal.Record {
	h.t.Helper()
	if _, err := h.Journal.Write(h.t.Context(), &r); err != nil {
		h.t.Fatal(err)
	}
	return r
}

// write makes one observation of session n durable.
func (h *opened) write(n byte, sequence uint64, size int) uint64 {
	h.t.Helper()
	return h.journal(observation(n, sequence, size)).Index
}

func observation(n byte, sequence uint64, size int) wal.Record {
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte(int(n) + int(sequence) + i*7)
	}
	return wal.Record{
		Kind: wal.KindWrite, Form: wal.FormEpisode, Lane: wal.LaneNormal, Session: id(n), Sequence: sequence,
		Space: "default", ID: fmt.Appendf(nil, "m-%d-%d", n, sequence), Payload: payload,
	}
}

// batch makes several records durable with as few fsyncs as they take; where the journal is idle, the first takes one and
// the rest another.
func (h *opened) batch(records ...wal.Record) []wal.Record {
	h.t.Helper()
	p := h.Journal.NewProducer()
	for i := range records {
		if err := p.Append(&records[i]); err != nil {
			h.t.Fatal(err)
		}
	}
	if _, err := p.Wait(h.t.Context(), records[len(records)-1].Index); err != nil {
		h.t.Fatal(err)
	}
	return records
}

// generation writes observations of session n from sequence on until the newest generation is finished, and returns their
// indexes.
func (h *opened) generation(n byte, sequence uint64) []uint64 {
	h.t.Helper()
	var out []uint64
	for number := uint64(0); ; sequence++ {
		out = append(out, h.write(n, sequence, 6000))
		gens := h.Journal.Generations()
		if g := gens[len(gens)-1]; number == 0 {
			number = g.Number
		} else if g.Number != number {
			return out
		}
	}
}

func (h *opened) settle(n byte, f wal.Fate, indexes ...uint64) {
	h.t.Helper()
	for _, i := range indexes {
		if !h.Ledger.Settle(i, id(n), f) {
			h.t.Fatalf("index %d was not pending", i)
		}
	}
}

func (h *opened) bury(index uint64, n byte, sequence uint64, reason string) {
	h.t.Helper()
	r := observation(n, sequence, 300)
	r.Index = index
	if err := h.Ledger.Bury(ledger.Letter{Record: r, Reason: reason, Attempts: 1}); err != nil {
		h.t.Fatal(err)
	}
}

// round lets the keeper look once.
func (h *opened) round() {
	h.t.Helper()
	if err := h.Ledger.Round(h.t.Context(), h.Journal); err != nil {
		h.t.Fatal(err)
	}
}

func (h *opened) flush() {
	h.t.Helper()
	if err := h.Ledger.Flush(); err != nil {
		h.t.Fatal(err)
	}
}

// session returns what is known of session n; its zero value where nothing is.
func (h *opened) session(n byte) ledger.Session {
	for _, s := range h.Sessions {
		if s.ID == id(n) {
			return s
		}
	}
	return ledger.Session{}
}

// indexes are those of the runs that the queue begins with.
func (h *opened) indexes() (out []uint64) {
	for _, r := range h.Pending {
		for i := r.First; i <= r.Last; i++ {
			out = append(out, i)
		}
	}
	return out
}

// balanced fails where the account does not add up to want.
func (h *opened) balanced(want ledger.Balance) {
	h.t.Helper()
	if got := h.Ledger.Balance(); got != want {
		h.t.Fatalf("balance %+v, want %+v", got, want)
	}
}

func loseLedger(t testing.TB, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, ledger.FileName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// hash is a hash over names, modes and bytes of a directory, all but the lock file.
func hash(t testing.TB, dir string) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() == "LOCK" {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintln(sum, strings.TrimPrefix(path, dir), fi.Mode())
		if !e.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		_, _ = fmt.Fprintln(sum, len(b))
		sum.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// segment is the bytes of a generation.
func segment(t testing.TB, dir string, number uint64) []byte {
	t.Helper()
	b, err := os.ReadFile(wal.SegmentPath(JournalDir(dir), number))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// overwrite changes the bytes of a generation.
func overwrite(t testing.TB, dir string, number uint64, change func([]byte) []byte) {
	t.Helper()
	b := change(segment(t, dir, number))
	if err := os.WriteFile(wal.SegmentPath(JournalDir(dir), number), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// scanned is what a scan finds of a generation.
func scanned(t testing.TB, dir string, number uint64) *wal.Scanned {
	t.Helper()
	f, err := wal.ReadFormat(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := wal.ScanGeneration(JournalDir(dir), f.Journal, number, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// flip damages the frame of an index: its payload's last byte, or its header.
func flip(t testing.TB, dir string, number uint64, header bool, indexes ...uint64) {
	t.Helper()
	s := scanned(t, dir, number)
	overwrite(t, dir, number, func(b []byte) []byte {
		for _, i := range indexes {
			at := int(s.Offsets[i-s.Base])
			if header {
				b[at+10] ^= 1 // in the index
				continue
			}
			end := len(b)
			if next := i - s.Base + 1; next < uint64(len(s.Offsets)) {
				end = int(s.Offsets[next]) - 3
			}
			b[end-1] ^= 1
		}
		return b
	})
}

// generationsOn are the numbers of the generations on disk.
func generationsOn(t testing.TB, dir string) []uint64 {
	t.Helper()
	n, err := listGenerations(JournalDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func quarantine(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(QuarantineDir(dir), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}
