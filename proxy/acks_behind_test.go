package proxy

import (
	"fmt"
	"slices"
	"testing"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// TestResumedStreamIsToldOfEachDeadLetter: there are more of them than the ledger is asked for at a time. Each is named once,
// and no INDEXED stands for one that is still to be named.
func TestResumedStreamIsToldOfEachDeadLetter(t *testing.T) {
	const all = 5 * fatesAtOnce
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	c.observe(upTo(all)...)
	c.acks(upTo(all)...)
	var delivered, dead []uint64
	for _, seq := range upTo(all) {
		if seq%2 == 0 {
			dead = append(dead, seq)
		} else {
			delivered = append(delivered, seq)
		}
	}
	e.deliver(c.id, wal.Delivered, delivered...)
	e.deliver(c.id, wal.Dead, dead...)
	again := e.begin(c.id, &pb.StreamInit{}, acksKey, "indexed")
	var named []uint64
	watermark := uint64(0)
	for len(named) < len(dead) || watermark < all-1 {
		res := again.recv()
		switch seq := res.GetSequenceNumber(); res.GetAck().GetStatus() {
		case rejected:
			named = append(named, seq)
		case indexed:
			if seq <= watermark {
				t.Fatalf("indexed %d after %d", seq, watermark)
			}
			for _, died := range dead {
				if died < seq && !slices.Contains(named, died) {
					t.Fatalf("indexed %d, and %d was not named before it", seq, died)
				}
			}
			watermark = seq
		default:
			t.Fatalf("got %v", res)
		}
	}
	if !slices.Equal(named, dead) {
		t.Errorf("rejected %v, want %v", named, dead)
	}
	again.observe(all + 1)
	again.acks(all + 1) // and nothing more before it
}

// TestDamagedAreNamedToWhoIsBehind: the ledger cannot tell which they are, so they are kept though all else is let go.
func TestDamagedAreNamedToWhoIsBehind(t *testing.T) {
	rate := &pb.FlowControl{Action: pb.FlowControl_ACTION_SLOW_DOWN, PreferredRate: 100}
	for name, before := range map[string]bool{"when they were reported": true, "only later": false} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, Config{})
			c := e.begin("", &pb.StreamInit{}, acksKey, "indexed")
			c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_BUFFER_STATUS}) // nothing is told for now
			c.status(0, pb.StreamStatus_STATE_ACTIVE)
			if before {
				c.flow(rate)
				c.status(0, pb.StreamStatus_STATE_ACTIVE)
			}
			c.observe(upTo(5)...)
			c.acks(upTo(5)...)
			for seq, fate := range []wal.Fate{wal.Delivered, wal.Damaged, wal.Dead, wal.Delivered, wal.Damaged} {
				e.deliver(c.id, fate, uint64(seq)+1)
			}
			if !before {
				c.flow(rate)
				c.status(0, pb.StreamStatus_STATE_ACTIVE)
			}
			c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_BUFFER_STATUS, BufferRemaining: 9})
			var told []string
			for len(told) < 4 {
				if res := c.recv(); res.GetAck() != nil { // or else the confirmation, in whose place is not promised
					told = append(told, fmt.Sprint(res.GetAck().GetStatus(), " ", res.GetSequenceNumber()))
				}
			}
			if got := fmt.Sprint(told); got != "[STATUS_REJECTED 2 STATUS_REJECTED 3 STATUS_INDEXED 4 STATUS_REJECTED 5]" {
				t.Errorf("told of %s", got)
			}
		})
	}
}
