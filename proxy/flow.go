package proxy

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
)

// unaskedDefault is how many messages may wait that no request asked for, where the client has no wish of its own.
const unaskedDefault = 16

// manners is how much the sidecar may say to one client of its own accord. The receiver sets it, the supervisor heeds it.
type manners struct {
	limit    atomic.Int64  // messages that may wait in the outbox
	interval atomic.Int64  // nanoseconds between two of them; 0 where the client has no wish
	changed  chan struct{} // cap 1: the interval has changed
}

func (m *manners) init(clientBuffer uint32) {
	m.limit.Store(unaskedDefault)
	if clientBuffer > 0 {
		m.limit.Store(int64(clientBuffer))
	}
	m.changed = make(chan struct{}, 1)
}

// pause is the distance between two statuses.
func (m *manners) pause() time.Duration { return max(time.Duration(m.interval.Load()), gaugeEvery) }

// rated says that the client has set a rate, which INDEXED acks heed too.
func (m *manners) rated() bool { return m.interval.Load() > 0 }

// slowest is the longest distance that a client can ask for. One below the quickest is no wish.
const (
	slowest  = time.Hour
	quickest = time.Millisecond
)

// rate sets the distance from what the client prefers, in messages a second. Where that is no rate, the distance changes by
// the factor instead.
func (m *manners) rate(perSecond float32, factor float64) {
	before := m.interval.Load()
	if before == 0 {
		before = int64(gaugeEvery)
	}
	interval := float64(before) * factor
	if r := float64(perSecond); r > 0 && !math.IsInf(r, 0) { // NaN is not above 0
		interval = float64(time.Second) / r
	}
	d := time.Duration(min(interval, float64(slowest)))
	if d < quickest {
		d = 0
	}
	m.interval.Store(int64(d))
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// rateText tells the client what its rate has come to.
func (o *observation) rateText() string {
	text := fmt.Sprintf("at most one status every %v", o.manners.pause())
	switch d := time.Duration(o.manners.interval.Load()); {
	case o.fates == nil:
		return text
	case d == 0:
		return text + "; INDEXED acks as they come"
	default:
		return fmt.Sprintf("%s, and one INDEXED ack, for all up to it, every %v", text, d)
	}
}

// volunteer queues a status that nobody asked for, and says whether the client's manners allowed it.
func (o *observation) volunteer(status envelope.Status) bool {
	if int64(o.level().unasked) >= o.manners.limit.Load() {
		return false
	}
	o.reply(answerUnasked, envelope.AppendStatus(nil, o.header(0), status))
	return true
}

// flow obeys a flow control message and confirms it.
func (o *observation) flow(f *envelope.Flow) {
	var err error
	var message string
	switch f.Action {
	case envelope.FlowPause:
		err = o.att.Pause()
		message = "paused: observations are refused until RESUME; what was accepted goes on to the store"
	case envelope.FlowResume:
		err = o.att.Resume()
		message = fmt.Sprintf("active: send from %d", o.att.Next())
	case envelope.FlowSlowDown:
		o.manners.rate(f.PreferredRate, 2)
		message = o.rateText()
	case envelope.FlowSpeedUp:
		o.manners.rate(f.PreferredRate, 0.5)
		message = o.rateText()
	case envelope.FlowBufferStatus:
		n := max(f.BufferRemaining, 0)
		o.manners.limit.Store(int64(n))
		if o.fates != nil {
			o.fates.due()
		}
		message = fmt.Sprintf("at most %d statuses are queued", n)
	default:
		o.refuse(ReasonInvalid, fmt.Sprintf("flow.action: expected PAUSE, RESUME, SLOW_DOWN, SPEED_UP or BUFFER_STATUS, got %v", f.Action))
		return
	}
	if err != nil {
		o.refuseSession(err)
		return
	}
	state := envelope.StateActive
	if o.att.State() == session.Paused {
		state = envelope.StatePaused
	}
	o.in.text = envelope.AppendStatus(o.in.text[:0], o.header(o.in.obs.Sequence), o.status(state, message))
	o.reply(answerReady, o.in.text)
}

// warningWatch tells a client that wants to know when the way to the store is filling up. It is the supervisor's.
type warningWatch struct {
	changed <-chan struct{}  // the pressure has changed
	pause   <-chan time.Time // enough time has passed since the last warning
	warning
}

// warning remembers what a client was told of the pressure, so that it is told what is new, and that all is well only once
// it is well below where the warnings began.
type warning struct {
	warned float64 // the pressure that the client was last told of; 0 when it was told that all is well
}

// turn is what there is to tell.
type turn uint8

const (
	turnNone turn = iota
	turnHigh      // slow down
	turnOver      // there is room again
)

// judge says what there is to tell at this pressure, which it rounds to hundredths.
func (w *warning) judge(pressure float64) (float64, turn) {
	pressure = math.Round(100*pressure) / 100
	switch {
	case pressure >= pressureHigh && pressure != w.warned:
		return pressure, turnHigh
	case pressure < pressureLow && w.warned > 0:
		return pressure, turnOver
	default:
		return pressure, turnNone
	}
}

func (w *warning) told(pressure float64, t turn) {
	if w.warned = pressure; t == turnOver {
		w.warned = 0
	}
}

func (w *warningWatch) begin(o *observation) {
	if o.backpressure {
		w.look(o)
	}
}

// look tells the client what has changed, if anything, and waits for the next change.
func (w *warningWatch) look(o *observation) {
	w.pause, w.changed = nil, o.s.gauge.changes()
	pressure, turn := w.judge(o.s.gauge.pressure(o.lane))
	var status envelope.Status
	switch turn {
	case turnHigh:
		status = o.status(envelope.StateBackpressure, fmt.Sprintf("%.0f %% full: slow down", 100*pressure))
	case turnOver:
		status = o.status(envelope.StateActive, "there is room again")
	case turnNone:
		return
	}
	if o.volunteer(status) {
		w.told(pressure, turn)
	}
	w.changed, w.pause = nil, time.After(o.manners.pause())
}

// paceWatch gives the news of a client that has set a rate their turn. It is the supervisor's.
type paceWatch struct {
	changed <-chan struct{}  // the client has set a rate, or taken it back
	turn    <-chan time.Time // the next turn
}

func (w *paceWatch) begin(o *observation) {
	if o.fates != nil {
		w.changed = o.manners.changed
	}
}

// next waits for the next turn, where there is a rate. Without one all may be told at once.
func (w *paceWatch) next(o *observation) {
	w.turn = nil
	if d := time.Duration(o.manners.interval.Load()); d > 0 {
		w.turn = time.After(d)
	}
}

func (w *paceWatch) take(o *observation) {
	o.fates.due()
	w.next(o)
}
