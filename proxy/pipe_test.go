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
	p := &pipe{producer: &instantProducer{}, owner: noOwner{}, nudged: make(chan struct{}, 1)}
	if err := p.append(&wal.Record{Kind: wal.KindWrite}, answer{sequence: 1}, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.nudged:
	default:
		t.Error("the sender was not told that the record is durable already")
	}
}

func TestObservationCostsOneAllocation(t *testing.T) {
	o := &observation{idText: "7f9c24e5-2f57-4f9b-8f0a-0d8c3f1a2b3c", space: "default", lane: wal.LaneNormal}
	o.s = &Server{cfg: Config{}.withDefaults()}
	message := encode(t, observationOf(1, episode("")))
	codec := newFrameCodec()
	if n := testing.AllocsPerRun(100, func() {
		if err := codec.Unmarshal(message, &o.in.frame); err != nil {
			t.Fatal(err)
		}
		o.scan(t)
		if err := o.judge(); err != nil {
			t.Fatal(err)
		}
		o.in.forget()
	}); n > 1 {
		t.Errorf("an observation costs %v allocations until it is appended, want 1, for its bytes", n)
	}
}
