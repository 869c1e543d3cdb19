package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// deliver reports what became of a session's observations with these sequences, as the forwarder and the ledger do.
func (e *edge) deliver(id string, fate wal.Fate, seqs ...uint64) {
	e.t.Helper()
	for _, r := range e.journal.records(wal.KindWrite) {
		for _, seq := range seqs {
			if r.Session.String() != id || r.Sequence != seq {
				continue
			}
			if fate == wal.Dead {
				e.ledger.set(func() { e.ledger.died[r.Index] = true })
				e.ledger.settle(r.Index)
			}
			e.news.Settled(&r, fate, "no good")
			e.ledger.settle(r.Index)
		}
	}
}

// told receives an ack of one observation with this status.
func (c *client) told(seq uint64, status pb.ObservationAck_Status, memoryID string) {
	c.t.Helper()
	res := c.recv()
	ack := res.GetAck()
	if ack.GetStatus() != status || res.GetSequenceNumber() != seq || ack.GetMemoryId() != memoryID || res.GetSessionId() != c.id {
		c.t.Fatalf("want %v of %d as %q, got %v", status, seq, memoryID, res)
	}
	if committed := ack.GetCommittedAt() != nil; committed != (status != pb.ObservationAck_STATUS_REJECTED) {
		c.t.Errorf("%v of %d with committed_at %v", status, seq, ack.GetCommittedAt())
	}
}

const (
	indexed  = pb.ObservationAck_STATUS_INDEXED
	rejected = pb.ObservationAck_STATUS_REJECTED
	accepted = pb.ObservationAck_STATUS_ACCEPTED
)

// connectMemory opens a MemoryStream.
func (e *edge) connectMemory() *client {
	e.t.Helper()
	stream, err := e.MemoryStream(e.ctx)
	if err != nil {
		e.t.Fatal(err)
	}
	return &client{t: e.t, stream: stream, cancel: func() {}}
}

func TestIndexedAcksFollowWhatTheStoreSays(t *testing.T) {
	for name, connect := range map[string]func(*edge) *client{
		"asked for":    func(e *edge) *client { return e.connect("engram-acks", "indexed") },
		"MemoryStream": (*edge).connectMemory,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, Config{})
			c := connect(e)
			c.init("", &pb.StreamInit{})
			c.observe(1)
			c.send(observationOf(2, episode("mine")))
			c.observe(3, 4)
			c.acks(1)
			c.told(2, accepted, "mine")
			c.acks(3, 4)
			e.deliver(c.id, wal.Delivered, 1, 2)
			e.deliver(c.id, wal.Dead, 3)
			e.deliver(c.id, wal.Damaged, 4)
			c.told(1, indexed, c.id+"-1")
			c.told(2, indexed, "mine")
			c.told(3, rejected, c.id+"-3")
			c.told(4, rejected, c.id+"-4")
		})
	}
}

func TestIndexedAcksComeOnlyWhereTheyAreWanted(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	c.observe(1)
	c.acks(1)
	e.deliver(c.id, wal.Delivered, 1)
	c.observe(2)
	c.acks(2)
}

func TestObservationIsAcceptedBeforeItIsIndexed(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{}, acksKey, "indexed")
	id, err := wal.ParseSessionID(c.id)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 3; seq++ { // a store that is quicker than the stream's own sender
		e.news.Settled(&wal.Record{Session: id, Sequence: seq}, wal.Delivered, "")
	}
	for seq := uint64(1); seq <= 3; seq++ {
		c.observe(seq)
		c.acks(seq)
		c.told(seq, indexed, fmt.Sprintf("%s-%d", c.id, seq))
	}
}

func TestResumedStreamIsToldTheWatermark(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	c.observe(upTo(9)...)
	c.acks(upTo(9)...)
	e.deliver(c.id, wal.Delivered, 1, 3, 4, 5)
	e.deliver(c.id, wal.Dead, 2, 6)
	again := e.begin(c.id, &pb.StreamInit{}, acksKey, "indexed")
	again.told(2, rejected, "")
	again.told(5, indexed, "") // for all up to it but those that were named
	again.told(6, rejected, "")
	e.deliver(c.id, wal.Delivered, 7)
	again.told(7, indexed, c.id+"-7")
	again.observe(10)
	again.acks(10)
	e.deliver(c.id, wal.Delivered, 8, 9, 10)
	for seq := uint64(8); seq <= 10; seq++ {
		again.told(seq, indexed, fmt.Sprintf("%s-%d", c.id, seq))
	}
}

func TestClientThatDoesNotReadIsToldOnceForMany(t *testing.T) {
	e := newEdge(t, Config{AnswerBytes: 16 << 10})
	c := e.connectMemory()
	c.init("", &pb.StreamInit{})
	const all = 30_000
	go func() {
		for _, seq := range upTo(all) {
			if c.stream.Send(observationOf(seq, episode(""))) != nil {
				return
			}
		}
	}()
	await(t, "the receiver to stop reading", e.stalled())
	stuck := uint64(len(e.journal.records(wal.KindWrite)))
	var died []uint64
	for seq := uint64(1); seq <= stuck; seq++ {
		if seq%50 == 0 {
			died = append(died, seq)
		}
	}
	settleAll(e, c.id)
	f := followed(e)
	if size := f.memory(); size > 8<<10 {
		t.Errorf("%d bytes are kept for a client that reads nothing, want at most 8 KiB", size)
	}
	last, named, singly := uint64(0), map[uint64]bool{}, 0
	for last < stuck {
		res := c.recv()
		switch res.GetAck().GetStatus() {
		case indexed:
			if res.GetSequenceNumber() <= last {
				t.Fatalf("indexed %d after %d", res.GetSequenceNumber(), last)
			}
			singly++
			last = res.GetSequenceNumber()
		case rejected:
			named[res.GetSequenceNumber()] = true
			last = max(last, res.GetSequenceNumber())
		}
	}
	if singly > int(stuck)/2 {
		t.Errorf("%d of %d were told by themselves: the test shows nothing", singly, stuck)
	}
	for _, seq := range died {
		if !named[seq] {
			t.Errorf("%d is a dead letter, and was not named", seq)
		}
	}
	if len(named) != len(died) {
		t.Errorf("%d were rejected, want %d", len(named), len(died))
	}
}

// settleAll delivers all that is durable of a session; each fiftieth dies.
func settleAll(e *edge, id string) {
	for _, r := range e.journal.records(wal.KindWrite) {
		fate := wal.Delivered
		if r.Sequence%50 == 0 {
			fate = wal.Dead
		}
		if r.Session.String() != id {
			continue
		}
		e.ledger.set(func() {
			e.ledger.died[r.Index], e.ledger.settled[r.Index] = fate == wal.Dead, true
		})
		e.news.Settled(&r, fate, "no good")
	}
}

// followed is the news of the only stream that has any.
func followed(e *edge) *fates {
	e.news.mu.RLock()
	defer e.news.mu.RUnlock()
	for _, f := range e.news.sessions {
		return f
	}
	return nil
}

func (f *fates) memory() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fateCost*cap(f.waiting) + cap(f.ids) + 8*cap(f.damaged)
}

func TestRateHoldsForIndexedAcks(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, e *edge) {
		c := e.begin("", &pb.StreamInit{}, acksKey, "indexed")
		c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_SLOW_DOWN, PreferredRate: 4})
		c.status(0, pb.StreamStatus_STATE_ACTIVE, "at most one status every 250ms, and one INDEXED ack, for all up to it, every 250ms")
		c.observe(upTo(100)...)
		c.acks(upTo(100)...)
		go func() {
			for seq := uint64(1); seq <= 99; seq++ { // 100 a second
				fate := wal.Delivered
				if seq == 13 {
					fate = wal.Dead
				}
				time.Sleep(10 * time.Millisecond)
				e.deliver(c.id, fate, seq)
			}
		}()
		var last, messages uint64
		at := time.Now()
		for last < 99 {
			res := c.recv()
			if res.GetAck().GetStatus() == rejected {
				if res.GetSequenceNumber() != 13 {
					t.Errorf("got %v", res)
				}
				continue
			}
			if now := time.Now(); now.Sub(at) < 250*time.Millisecond {
				t.Errorf("indexed %d comes %v after the one before it, want 250ms", res.GetSequenceNumber(), now.Sub(at))
			}
			messages, last, at = messages+1, res.GetSequenceNumber(), time.Now()
		}
		if messages != 4 {
			t.Errorf("%d messages in a second, want 4", messages)
		}
		c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_SPEED_UP, PreferredRate: 1e9})
		c.status(0, pb.StreamStatus_STATE_ACTIVE, "INDEXED acks as they come")
		e.deliver(c.id, wal.Delivered, 100)
		c.told(100, indexed, c.id+"-100")
	})
}

func TestFullBufferHoldsIndexedAcksBack(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{}, acksKey, "indexed")
	c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_BUFFER_STATUS})
	c.status(0, pb.StreamStatus_STATE_ACTIVE, "at most 0 statuses")
	c.observe(1, 2)
	c.acks(1, 2)
	e.deliver(c.id, wal.Delivered, 1, 2)
	c.observe(3)
	c.acks(3)
	c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_BUFFER_STATUS, BufferRemaining: 5})
	var status []string
	var stored []uint64
	for range 3 { // whether the confirmation comes before what it lets go is not promised
		switch res := c.recv(); {
		case res.GetStatus() != nil:
			status = append(status, res.GetStatus().GetMessage())
		case res.GetAck().GetStatus() == indexed:
			stored = append(stored, res.GetSequenceNumber())
		default:
			t.Fatalf("got %v", res)
		}
	}
	if len(status) != 1 || !strings.Contains(status[0], "at most 5 statuses") || !slices.Equal(stored, []uint64{1, 2}) {
		t.Errorf("told of %v and %q", stored, status)
	}
}

func TestRateHoldsForWhatWaitedAlready(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{}, acksKey, "indexed")
	c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_BUFFER_STATUS})
	c.status(0, pb.StreamStatus_STATE_ACTIVE)
	c.observe(1, 2, 3)
	c.acks(1, 2, 3)
	e.deliver(c.id, wal.Delivered, 1, 2, 3)
	c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_SLOW_DOWN, PreferredRate: 100})
	c.status(0, pb.StreamStatus_STATE_ACTIVE)
	c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_BUFFER_STATUS, BufferRemaining: 9})
	var confirmed, stored int
	for range 2 { // whether the confirmation comes before what it lets go is not promised
		switch res := c.recv(); {
		case res.GetStatus().GetState() == pb.StreamStatus_STATE_ACTIVE:
			confirmed++
		case res.GetAck().GetStatus() == indexed && res.GetSequenceNumber() == 3: // for all three
			stored++
		default:
			t.Fatalf("got %v", res)
		}
	}
	if confirmed != 1 || stored != 1 {
		t.Errorf("%d confirmations and %d acks, expected one of each", confirmed, stored)
	}
}

func TestDrainTellsWhatBecameOfEach(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{}, acksKey, "indexed")
	c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_SLOW_DOWN, PreferredRate: 0.001}) // the close does not wait for that
	c.status(0, pb.StreamStatus_STATE_ACTIVE)
	c.observe(1, 2, 3)
	c.close(true, 3)
	c.acks(1, 2, 3)
	e.deliver(c.id, wal.Delivered, 1)
	e.deliver(c.id, wal.Dead, 2)
	e.deliver(c.id, wal.Delivered, 3)
	c.told(2, rejected, "")
	c.told(3, indexed, "")
	c.status(0, pb.StreamStatus_STATE_CLOSED)
	c.end(codes.OK)
}

func TestCumulativeAcks(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{}, acksKey, "cumulative, indexed")
	e.journal.hold()
	c.observe(upTo(5)...)
	c.observe(77)
	c.send(observationOf(6, episode("six")))
	e.journal.awaitFilling(6)
	e.journal.release()
	c.acks(5) // for all before it
	c.status(77, pb.StreamStatus_STATE_ERROR, "expected 6, got 77")
	c.told(6, accepted, "six")
	e.deliver(c.id, wal.Delivered, 1, 2)
	c.told(1, indexed, c.id+"-1") // each of its own
	c.told(2, indexed, c.id+"-2")
	if e.counts.acked != 6 {
		t.Errorf("%d acks are counted, want 6", e.counts.acked)
	}
}

func TestUnknownAcksAreRefused(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.connect(acksKey, "indexed,eager")
	c.end(codes.InvalidArgument, "metadata engram-acks", "cumulative, indexed", `"eager"`)
}

func TestNewsEndWithTheStream(t *testing.T) {
	e := newEdge(t, Config{})
	old := e.begin("", &pb.StreamInit{}, acksKey, "indexed")
	heir := e.begin(old.id, &pb.StreamInit{}, acksKey, "indexed")
	heir.observe(1)
	heir.acks(1)
	e.deliver(heir.id, wal.Delivered, 1)
	heir.told(1, indexed, heir.id+"-1")
	if err := heir.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	heir.end(codes.OK)
	e.awaitStreams(0)
	if n := e.news.listening.Load(); n != 0 || len(e.news.sessions) != 0 {
		t.Errorf("%d streams are still listened for", n)
	}
}
