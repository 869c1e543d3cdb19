package recovery

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// backlogOf leaves a data directory with so many pending observations, of a few sessions.
func backlogOf(tb testing.TB, records int) Options {
	tb.Helper()
	o := Options{DataDir: memoryDir(tb), Journal: wal.Config{MaxBytes: 1 << 40, ReserveBytes: 1}}
	h := openWith(tb, o)
	for n := byte(1); n <= 8; n++ {
		h.begin(n)
	}
	p, payload := h.Journal.NewProducer(), make([]byte, 3200)
	var r wal.Record
	for i := range records {
		r = wal.Record{
			Kind: wal.KindWrite, Form: wal.FormEpisode, Lane: wal.LaneNormal, Session: id(byte(1 + i%8)),
			Sequence: uint64(1 + i/8), Space: "default", ID: fmt.Appendf(nil, "m-%d", i), Payload: payload,
		}
		if err := p.Append(&r); err != nil {
			tb.Fatal(err)
		}
	}
	if _, err := p.Wait(tb.Context(), r.Index); err != nil {
		tb.Fatal(err)
	}
	h.close()
	return o
}

// BenchmarkOpen is a start with a backlog. BenchmarkReadFiles reads the same files once, which is the least that a start
// which looks at every byte can take.
func BenchmarkOpen(b *testing.B) {
	const records = 20_000
	o := backlogOf(b, records)
	b.SetBytes(bytesIn(b, filepath.Join(o.DataDir, "journal")))
	b.ReportAllocs()
	for b.Loop() {
		s, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		if pending := s.Ledger.Balance().Pending; pending != records {
			b.Fatalf("%d are pending", pending)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
}

func BenchmarkReadFiles(b *testing.B) {
	o := backlogOf(b, 20_000)
	dir := filepath.Join(o.DataDir, "journal")
	b.SetBytes(bytesIn(b, dir))
	for b.Loop() {
		bytesIn(b, dir)
	}
}

// bytesIn reads every file below a directory, and counts.
func bytesIn(tb testing.TB, dir string) (n int64) {
	tb.Helper()
	buf := make([]byte, 1<<20)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		m, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buf)
		n += m
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
