package main

import (
	"sync/atomic"
	"time"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/proxy"
	"github.com/engram-sidecar/engram-sidecar/proxy/forward"
	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// What the cache of payloads may hold, what a record costs there beside its payload, and how large a record is taken to be
// before the first was seen; in bytes.
const (
	cacheBytes  = 32 << 20
	recordBytes = 256
	typicalSize = 3400
)

// backlog is what is durable and not yet settled: references in lanes, and as many payloads as its cache holds. It fills
// them from the journal's commits, and tells the edge how full the lanes are.
type backlog struct {
	queue  *queue.Queue
	cache  *queue.Cache[wal.Record]
	limits config.Lanes

	journal *wal.Journal       // set after recovery, before the edge asks
	forward *forward.Forwarder // likewise

	records, bytes atomic.Uint64 // that were committed, for their mean size
}

var _ proxy.Lanes = (*backlog)(nil)

func newBacklog(cfg config.Config) *backlog {
	return &backlog{
		queue:  queue.New(queue.Config{LaneCapacity: cfg.LaneCapacity}, time.Now),
		cache:  queue.NewCache[wal.Record](cacheBytes),
		limits: cfg.LaneCapacity,
	}
}

// laneOf numbers the lanes from 0, as the queue does. A record that names none of them goes with the normal ones: it is
// durable, and must be delivered whoever wrote it.
func laneOf(l wal.Lane) int {
	if l < wal.LaneHigh || l > wal.LaneLow {
		l = wal.LaneNormal
	}
	return int(l - wal.LaneHigh)
}

// committed takes in what has just become durable, before it is acked. It runs in the journal's committer.
func (b *backlog) committed(c *wal.Commit) {
	for i := 0; i < len(c.Records); {
		first := &c.Records[i]
		if first.Kind != wal.KindWrite {
			i++
			continue
		}
		n := 0
		for ; i < len(c.Records) && follows(first, &c.Records[i], n); i++ {
			r := &c.Records[i]
			b.cache.Put(r.Index, *r, len(r.Payload)+recordBytes)
			n++
		}
		b.queue.PushRun(laneOf(first.Lane), first.Index, first.Index+uint64(n)-1, c.At)
	}
}

// follows says that r is the n-th of the run that begins with first: a write of the same lane.
func follows(first, r *wal.Record, n int) bool {
	return r.Kind == wal.KindWrite && r.Lane == first.Lane && r.Index == first.Index+uint64(n) //nolint:gosec // not negative
}

// refill puts what recovery found pending into the lanes. It comes before the first commit.
func (b *backlog) refill(pending []recovery.Run) {
	for _, run := range pending {
		b.queue.PushRun(laneOf(run.Lane), run.First, run.Last, run.At)
	}
}

func (b *backlog) sized(records, bytes int) {
	b.records.Add(uint64(records)) //nolint:gosec // counts
	b.bytes.Add(uint64(bytes))     //nolint:gosec // counts
}

// Load implements proxy.Lanes.
func (b *backlog) Load(lane wal.Lane) proxy.Load {
	i := laneOf(lane)
	depth := b.queue.Depths()[i]
	load := proxy.Load{
		Depth: uint64(depth), Limit: uint64(b.limits[i]), Capacity: uint64(b.limits[i]), //nolint:gosec // not negative
		RetryAfter: b.forward.RetryAfter(depth),
	}
	if load.Capacity == 0 {
		load.Capacity = max(uint64(b.journal.Stats().Quota)/b.meanSize(), 1) //nolint:gosec // not negative
	}
	return load
}

// meanSize is what a record takes in the journal on average.
func (b *backlog) meanSize() uint64 {
	if n := b.records.Load(); n > 0 {
		return max(b.bytes.Load()/n, 1)
	}
	return typicalSize
}
