package ledger

import (
	"fmt"
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

// TestTheAccountOfACommitAllocatesNothing bounds what a record costs the collector on the way of its ack, and on that of the
// store's answer: a place in two bitmaps, now and then a longer one.
func TestTheAccountOfACommitAllocatesNothing(t *testing.T) {
	d := newDesk(t)
	records := make([]wal.Record, 128)
	c := wal.Commit{Generation: 1, Records: records, At: time.Now()}
	next := uint64(1)
	round := func() {
		for i := range records {
			records[i] = wal.Record{
				Kind: wal.KindWrite, Lane: wal.LaneNormal, Session: numbered(i), Sequence: next, Space: "default", Index: next,
			}
			next++
		}
		d.Committed(&c)
		for i := range records {
			d.Settle(records[i].Index, records[i].Session, wal.Delivered)
		}
	}
	for range 20 {
		round()
	}
	if n := testing.AllocsPerRun(200, round); n > 2 {
		t.Errorf("a batch of %d records allocates %.1f times", len(records), n)
	}
}

// BenchmarkFlush is the writing down of what one batch changed, with so many sessions that it did not touch.
func BenchmarkFlush(b *testing.B) {
	for _, sessions := range []int{100, 20_000} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			d := newDesk(b)
			n := openSessions(d, sessions)
			b.ReportAllocs()
			for b.Loop() {
				n++
				d.Committed(&wal.Commit{Generation: 1, At: time.Now(), Records: []wal.Record{{
					Kind: wal.KindWrite, Lane: wal.LaneNormal, Session: numbered(n % sessions), Sequence: uint64(n), Space: "default", Index: uint64(n),
				}}})
				if err := d.Flush(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEmpty is the question whether a generation may go, asked beside so many sessions that it tells nothing of.
func BenchmarkEmpty(b *testing.B) {
	for _, sessions := range []int{100, 20_000} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			d := newDesk(b)
			openSessions(d, sessions)
			b.ReportAllocs()
			for b.Loop() {
				d.empty(2)
			}
		})
	}
}

func openSessions(d *desk, sessions int) int {
	records := make([]wal.Record, sessions)
	for i := range records {
		records[i] = wal.Record{
			Kind: wal.KindSessionOpened, Lane: wal.LaneNormal, Session: numbered(i), Space: "default", Index: uint64(i + 1),
		}
	}
	d.Committed(&wal.Commit{Generation: 1, At: time.Now(), Records: records})
	return sessions
}
