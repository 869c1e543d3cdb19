package proxy

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func (e *edge) full(err error) { e.journal.set(func() { e.journal.state = err }) }

// ticks waits until the gauge has looked n times.
func (e *edge) ticks(n int) {
	for range n {
		<-e.gauge.tick()
	}
}

func (e *edge) pressure(p float64) { e.journal.set(func() { e.journal.level = p }) }

func TestFullJournalRefusesWhoWantsToKnow(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{EnableBackpressure: true})
	c.observe(1)
	c.acks(1)
	e.ledger.set(func() { e.ledger.load = Load{Depth: 7, Capacity: 9, RetryAfter: 1520 * time.Millisecond} })
	e.full(fmt.Errorf("%w: no quota left", wal.ErrFull))
	c.observe(2, 3, 4) // those behind the refused one are no gaps, but refused for the same reason
	for seq := uint64(2); seq <= 4; seq++ {
		st := c.status(seq, pb.StreamStatus_STATE_OVERLOADED, "retry after 1.5s, resend from 2")
		if st.GetQueueDepth() != 7 || st.GetQueueCapacity() != 9 {
			t.Errorf("depth and capacity of %v", st)
		}
	}
	e.full(nil)
	c.observe(2, 3)
	c.acks(2, 3)
	c.observe(9)
	c.status(9, pb.StreamStatus_STATE_ERROR, "expected 4, got 9")
	if e.counts.of(ReasonOverloaded) != 3 {
		t.Errorf("counted %v", e.counts.refused)
	}
}

func TestFullJournalHoldsUpWhoDoesNot(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	e.full(fmt.Errorf("%w: no quota left", wal.ErrFull))
	c.observe(1, 2)
	await(t, "the receiver to wait for room", func() bool {
		e.gauge.mu.Lock()
		defer e.gauge.mu.Unlock()
		return e.gauge.next != nil
	})
	e.full(nil)
	c.acks(1, 2) // nothing was refused
	if e.counts.of(ReasonOverloaded) != 0 {
		t.Errorf("counted %v", e.counts.refused)
	}
}

func TestHeldUpClientMayStillLeave(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	e.full(fmt.Errorf("%w: no quota left", wal.ErrFull))
	c.observe(1)
	c.cancel()
	e.awaitStreams(0)
}

func TestFullLaneIsAFullJournal(t *testing.T) {
	e := newEdge(t, Config{})
	e.ledger.set(func() { e.ledger.load = Load{Depth: 1, Limit: 4, Capacity: 4} })
	c := e.begin("", &pb.StreamInit{EnableBackpressure: true})
	c.observe(1)
	c.acks(1)
	e.ledger.set(func() { e.ledger.load.Depth = 4 })
	c.observe(2)
	for {
		st := c.recv().GetStatus()
		if st.GetState() == pb.StreamStatus_STATE_BACKPRESSURE {
			continue // the warning came first
		}
		if st.GetState() != pb.StreamStatus_STATE_OVERLOADED || st.GetPressure() != 1 {
			t.Fatalf("got %v", st)
		}
		break
	}
	_, err := e.Remember(e.ctx, rememberOf("", ""))
	wantStatus(t, err, codes.ResourceExhausted, "lane full: 4 of 4 observations of priority normal", "retry after 1s")
}

func TestFullLowLaneRefusesNoHighOne(t *testing.T) {
	e := newEdge(t, Config{})
	e.ledger.set(func() {
		e.ledger.load.RetryAfter = time.Second
		e.ledger.low = &Load{Depth: 4, Limit: 4, Capacity: 4, RetryAfter: 7 * time.Second}
	})
	low := e.begin("", &pb.StreamInit{}, "engram-priority", "low")
	low.observe(1) // waits for room
	high := e.begin("", &pb.StreamInit{EnableBackpressure: true}, "engram-priority", "high")
	high.observe(upTo(20)...)
	high.acks(upTo(20)...) // without a warning
	if n := len(e.journal.records(wal.KindWrite)); n != 20 {
		t.Errorf("%d are journaled, want the 20 high ones", n)
	}
	told := e.begin("", &pb.StreamInit{EnableBackpressure: true}, "engram-priority", "low")
	told.status(0, pb.StreamStatus_STATE_BACKPRESSURE, "100 % full")
	told.observe(1)
	told.status(1, pb.StreamStatus_STATE_OVERLOADED, "lane full: 4 of 4 observations of priority low", "retry after 7s, resend from 1")
	e.full(fmt.Errorf("%w: no quota left", wal.ErrFull))
	high.observe(21)
	high.status(21, pb.StreamStatus_STATE_OVERLOADED, "no quota left; retry after 1s, resend from 21")
	e.full(nil)
	e.ledger.set(func() { e.ledger.low.Depth = 3 })
	low.acks(1)
}

func TestRefusedBatchIsRolledBack(t *testing.T) {
	for _, want := range []bool{true, false} {
		t.Run(fmt.Sprintf("backpressure %v", want), func(t *testing.T) {
			e := newEdge(t, Config{})
			c := e.begin("", &pb.StreamInit{EnableBackpressure: want})
			c.observe(1)
			c.acks(1)
			e.journal.hold()
			c.observe(2, 3, 4)
			c.observe(77) // a refusal of its own, which waits for its turn
			e.journal.awaitFilling(3)
			await(t, "the gap to be seen", func() bool { return e.counts.of(ReasonSequence) == 1 })
			e.journal.set(func() { e.journal.refuse = fmt.Errorf("%w: no space left on device", wal.ErrFull) })
			e.journal.release()
			for seq := uint64(2); seq <= 4; seq++ {
				c.status(seq, pb.StreamStatus_STATE_OVERLOADED, "resend from 2")
			}
			c.status(77, pb.StreamStatus_STATE_ERROR, "expected 5, got 77")
			c.observe(5) // sent before its client has read the refusals
			c.status(5, pb.StreamStatus_STATE_ERROR, "expected 2, got 5; resend from 2")
			c.observe(2, 3)
			c.acks(2, 3)
			if n := len(e.journal.records(wal.KindWrite)); n != 3 {
				t.Errorf("%d records, want 3", n)
			}
			if e.counts.of(ReasonOverloaded) != 3 {
				t.Errorf("counted %v", e.counts.refused)
			}
		})
	}
}

func TestRefusalThatTheReceiverFindsFirst(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	e.journal.set(func() { e.journal.mute, e.journal.refuse = true, wal.ErrFull })
	c.observe(1)
	e.journal.await(func() bool { return e.journal.refuse == nil }) // and nobody was woken
	c.observe(2)
	c.status(1, pb.StreamStatus_STATE_OVERLOADED, "resend from 1")
	c.status(2, pb.StreamStatus_STATE_ERROR, "expected 1, got 2")
	e.journal.set(func() { e.journal.mute = false })
	c.observe(1)
	c.acks(1)
}

func TestFailedJournalEndsStreams(t *testing.T) {
	e := newEdge(t, Config{})
	c, idle := e.begin("", &pb.StreamInit{}), e.begin("", &pb.StreamInit{})
	c.observe(1)
	c.acks(1)
	e.journal.hold()
	c.observe(2, 3)
	e.journal.awaitFilling(2)
	e.journal.set(func() { e.journal.refuse = fmt.Errorf("%w: %w", wal.ErrFailed, errDisk) })
	e.journal.release()
	c.end(codes.Unavailable, "journal failed", "reconnect, and resume")
	idle.observe(1)
	idle.end(codes.Unavailable, "journal failed")
	_, err := e.Remember(e.ctx, rememberOf("", ""))
	wantStatus(t, err, codes.Unavailable, "journal failed", "call again when the sidecar is back: what was answered is kept")
	fresh := e.connect()
	fresh.send(initOf(""))
	fresh.end(codes.Unavailable, "journal failed")
	if n := e.Stats().Sessions; n != 2 {
		t.Errorf("%d sessions, want 2: the one that could not be journaled is none", n)
	}
}

func TestWarnings(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{EnableBackpressure: true})
	quiet := e.begin("", &pb.StreamInit{})
	e.pressure(0.79)
	e.pressure(0.8)
	if st := c.status(0, pb.StreamStatus_STATE_BACKPRESSURE, "80 % full"); st.GetPressure() != 0.8 || st.GetQueueCapacity() != 1000 {
		t.Errorf("warned with %v", st)
	}
	e.ticks(3) // the same is not said again
	e.pressure(0.93)
	c.status(0, pb.StreamStatus_STATE_BACKPRESSURE, "93 % full")
	e.pressure(0.6) // neither a warning nor good enough
	await(t, "the gauge to see it", func() bool {
		e.gauge.mu.Lock()
		defer e.gauge.mu.Unlock()
		return e.gauge.last[0] == 60
	})
	e.pressure(0.4)
	c.status(0, pb.StreamStatus_STATE_ACTIVE, "there is room again")
	quiet.observe(1)
	quiet.acks(1) // and nothing else came to it
	late := e.begin("", &pb.StreamInit{EnableBackpressure: true})
	e.pressure(0.9)
	c.status(0, pb.StreamStatus_STATE_BACKPRESSURE)
	late.status(0, pb.StreamStatus_STATE_BACKPRESSURE)
	e.begin("", &pb.StreamInit{EnableBackpressure: true}).status(0, pb.StreamStatus_STATE_BACKPRESSURE) // at once
}

// The warnings begin at 0.8, come with each change, and are over only below 0.5.
func TestWhereWarningsBeginAndEnd(t *testing.T) {
	var w warning
	for i, step := range []struct {
		pressure float64
		want     turn
	}{
		{0.79, turnNone},
		{0.8, turnHigh},
		{0.8, turnNone},
		{0.81, turnHigh},
		{0.8, turnHigh},
		{1, turnHigh},
		{0.79, turnNone},
		{0.5, turnNone},
		{0.49, turnOver},
		{0.49, turnNone},
		{0.79, turnNone},
		{0.8, turnHigh},
		{0, turnOver},
	} {
		pressure, got := w.judge(step.pressure)
		if got != step.want || pressure != step.pressure {
			t.Errorf("step %d, a pressure of %v: got %v at %v, want %v", i, step.pressure, got, pressure, step.want)
		}
		if got != turnNone {
			w.told(pressure, got)
		}
	}
}

func TestFlowSetsManners(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{EnableBackpressure: true, ClientBufferSize: 1})
	for _, row := range []struct {
		flow  *pb.FlowControl
		state pb.StreamStatus_State
		text  string
	}{
		{&pb.FlowControl{Action: pb.FlowControl_ACTION_SLOW_DOWN, PreferredRate: 0.5}, pb.StreamStatus_STATE_ACTIVE, "at most one status every 2s"},
		{&pb.FlowControl{Action: pb.FlowControl_ACTION_SLOW_DOWN}, pb.StreamStatus_STATE_ACTIVE, "every 4s"},
		{&pb.FlowControl{Action: pb.FlowControl_ACTION_PAUSE}, pb.StreamStatus_STATE_PAUSED, "observations are refused until RESUME"},
		{&pb.FlowControl{Action: pb.FlowControl_ACTION_SPEED_UP}, pb.StreamStatus_STATE_PAUSED, "every 2s"},
		{&pb.FlowControl{Action: pb.FlowControl_ACTION_SPEED_UP, PreferredRate: 1e9}, pb.StreamStatus_STATE_PAUSED, "every 100ms"},
		{&pb.FlowControl{Action: pb.FlowControl_ACTION_SLOW_DOWN, PreferredRate: 1e-30}, pb.StreamStatus_STATE_PAUSED, "every 1h0m0s"},
		{&pb.FlowControl{Action: pb.FlowControl_ACTION_RESUME}, pb.StreamStatus_STATE_ACTIVE, "send from 1"},
		{&pb.FlowControl{Action: pb.FlowControl_ACTION_BUFFER_STATUS, BufferRemaining: -3}, pb.StreamStatus_STATE_ACTIVE, "at most 0 statuses are queued"},
	} {
		c.flow(row.flow)
		c.status(0, row.state, row.text)
	}
	e.pressure(0.9) // said to nobody: the client has no room for it
	e.ticks(3)
	c.observe(1)
	c.acks(1)
	c.close(false, 1)
	c.status(0, pb.StreamStatus_STATE_CLOSED)
}

func TestPausedSessionStaysPausedForTheNextStream(t *testing.T) {
	e := newEdge(t, Config{})
	c := e.begin("", &pb.StreamInit{})
	c.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_PAUSE})
	c.status(0, pb.StreamStatus_STATE_PAUSED)
	c.close(false, 0) // a paused session can be closed, but this one is taken over first
	c.status(0, pb.StreamStatus_STATE_CLOSED)

	d := e.begin("", &pb.StreamInit{})
	d.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_PAUSE})
	d.status(0, pb.StreamStatus_STATE_PAUSED)
	again := e.begin(d.id, &pb.StreamInit{})
	again.observe(1)
	again.status(1, pb.StreamStatus_STATE_PAUSED, "send flow RESUME, then resend from 1")
	again.flow(&pb.FlowControl{Action: pb.FlowControl_ACTION_RESUME})
	again.status(0, pb.StreamStatus_STATE_ACTIVE)
	again.observe(1)
	again.acks(1)
}

func TestSlowReaderSlowsItselfAlone(t *testing.T) {
	e := newEdge(t, Config{AnswerBytes: 16 << 10})
	slow, quick := e.begin("", &pb.StreamInit{}), e.begin("", &pb.StreamInit{})
	const all = 6000
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for _, seq := range upTo(all) {
			if slow.stream.Send(observationOf(seq, episode(""))) != nil {
				return
			}
		}
	}()
	await(t, "the receiver to stop reading", e.stalled())
	// What was taken is bounded by the outbox, and by what gRPC holds for both ends: 64 KiB each.
	const ack = 100 // bytes at least, on the wire
	taken := len(e.journal.records(wal.KindWrite))
	if limit := (16<<10+2*64<<10)/ack + 500; taken > limit {
		t.Errorf("%d observations were taken from a client that read nothing, want at most %d", taken, limit)
	}
	quick.observe(upTo(50)...)
	quick.acks(upTo(50)...)
	slow.acks(upTo(all)...)
	<-sent
}

func TestStatusOfWrite(t *testing.T) {
	e := newEdge(t, Config{})
	for _, row := range []struct {
		err  error
		code codes.Code
	}{
		{wal.ErrClosed, codes.Unavailable},
		{wal.ErrFailed, codes.Unavailable},
		{wal.ErrFull, codes.ResourceExhausted},
		{errors.New("something else"), codes.Internal},
	} {
		wantStatus(t, e.statusOfWrite(row.err, wal.LaneNormal), row.code)
		wantStatus(t, e.statusOfCall(row.err, wal.LaneNormal), row.code)
	}
	for d, want := range map[time.Duration]time.Duration{
		0: time.Second, -1: time.Second, time.Millisecond: 100 * time.Millisecond, 1549 * time.Millisecond: 1500 * time.Millisecond,
	} {
		if got := retryHint(d); got != want {
			t.Errorf("a drain of %v is told as %v, want %v", d, got, want)
		}
	}
}
