package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// write is a write of a lane at an index.
func write(index uint64, lane wal.Lane) wal.Record {
	return wal.Record{Kind: wal.KindWrite, Lane: lane, Index: index, Payload: []byte{byte(index)}}
}

func TestBacklogTakesInWhatIsDurable(t *testing.T) {
	b := newBacklog(config.Config{})
	b.refill([]recovery.Run{{First: 1, Last: 2, Lane: wal.LaneLow, At: time.Now()}})
	b.committed(&wal.Commit{At: time.Now(), Records: []wal.Record{
		{Kind: wal.KindHead, Index: 3},
		write(4, wal.LaneNormal), write(5, wal.LaneNormal),
		{Kind: wal.KindSessionOpened, Index: 6},
		write(7, wal.LaneNormal), write(8, wal.LaneHigh), write(9, wal.LaneNormal),
		{Kind: wal.KindSessionClosed, Index: 10},
	}})
	if got := b.queue.Depths(); got != [queue.Lanes]int{1, 4, 2} {
		t.Errorf("lanes hold %v", got)
	}
	refs, err := b.queue.Take(context.Background(), 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	var order []uint64
	for _, r := range refs {
		order = append(order, r.Index)
	}
	if want := []uint64{8, 4, 5, 7, 9, 1, 2}; !slices.Equal(order, want) {
		t.Errorf("they leave in the order %v, want %v", order, want)
	}
	if r, ok := b.cache.Get(7); !ok || r.Payload[0] != 7 || b.cache.Len() != 5 {
		t.Errorf("the cache holds %d, and for 7 %v", b.cache.Len(), r)
	}
}

func TestMeanSize(t *testing.T) {
	b := newBacklog(config.Config{})
	if got := b.meanSize(); got != typicalSize {
		t.Errorf("before the first record %d", got)
	}
	b.sized(2, 300)
	b.sized(2, 500)
	if got := b.meanSize(); got != 200 {
		t.Errorf("of 4 records in 800 bytes %d", got)
	}
	b.sized(1000, 0)
	if got := b.meanSize(); got == 0 {
		t.Error("a size of nothing")
	}
}
