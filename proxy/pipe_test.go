package proxy

import (
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// instantProducer makes a record durable while Append runs, and wakes nobody: what an ack looks like whose wake-up came, and
// was used up, before the ack was queued.
type instantProducer struct {
	Producer
	durable uint64
}

func (p *instantProducer) Append(r *wal.Record) error {
	p.durable++
	r.Index = p.durable
	return nil
}

func (p *instantProducer) Durable() (uint64, time.Time) { return p.durable, time.Now() }

type noOwner struct{ pipeOwner }

func (noOwner) accepted(uint64) {}

func TestAckIsNotLeftWaitingForAWakeUpThatCame(t *testing.T) {
	p := &pipe{s: &Server{}, producer: &instantProducer{}, owner: noOwner{}, nudged: make(chan struct{}, 1)}
	if err := p.append(&wal.Record{Kind: wal.KindWrite}, answer{sequence: 1}, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.nudged:
	default:
		t.Error("the sender was not told that the record is durable already")
	}
}
