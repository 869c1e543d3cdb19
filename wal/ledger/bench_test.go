package ledger

import (
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// What one batch costs the committer, and the settling of it the forwarder; the batch is one of a thousand sessions.
func BenchmarkCommitAndSettle(b *testing.B) {
	d := newDesk(b)
	records := make([]wal.Record, 128)
	c := wal.Commit{Generation: 1, Records: records, At: time.Now()}
	next, n := uint64(1), 0
	b.ReportAllocs()
	for b.Loop() {
		for i := range records {
			records[i] = wal.Record{
				Kind: wal.KindWrite, Lane: wal.LaneNormal, Session: numbered(n % 1000), Sequence: uint64(n), Space: "default", Index: next,
			}
			next++
			n++
		}
		d.Committed(&c)
		for i := range records {
			d.Settle(records[i].Index, records[i].Session, wal.Delivered)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
}
