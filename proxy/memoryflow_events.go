package proxy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/access"
	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// supervise keeps watch over the stream, and gives the session up whatever the watch has come to.
func (f *memoryFlow) supervise() error { return f.leave(f.watch()) }

// watch waits until the stream's time has come, and passes on the events until then.
func (f *memoryFlow) watch() (fenced <-chan struct{}) {
	defer f.s.caught(f.method, func(err error) { f.end(err, false) })
	var (
		opened = f.opened
		events eventWatch
	)
	defer events.end(f)
	for {
		select {
		case <-f.ending:
		case <-f.stream.Context().Done():
			f.end(f.stream.Context().Err(), false)
		case <-f.s.stopping:
			f.end(errStopping(), true)
		case <-fenced:
			f.end(errTakenOver(f.idText), false)
		case <-opened:
			opened, fenced = nil, f.att.Fenced()
			continue
		case sub := <-f.subs:
			events.follow(f, sub)
			continue
		case <-events.arrived:
			events.pass(f)
			continue
		case <-events.room:
			events.pass(f)
			continue
		case <-events.pause:
			events.pass(f)
			continue
		case <-events.pressure:
			events.warn(f)
			continue
		case <-events.again:
			events.warn(f)
			continue
		}
		return fenced
	}
}

// leave ends the stream, and gives the session up when all that was appended is settled.
func (f *memoryFlow) leave(fenced <-chan struct{}) error {
	defer func() {
		if f.att != nil { // finish has seen the receiver out of open, which sets it
			f.att.Release()
		}
	}()
	complete, result := f.finish(fenced)
	if !complete && f.stream.Context().Err() == nil {
		return errTakenOver(f.idText)
	}
	return result
}

// subscribe hands a subscription to the supervisor, in place of the one there was.
func (f *memoryFlow) subscribe(space string) {
	var wish pb.StreamSubscription
	if err := proto.Unmarshal(f.in.Body, &wish); err != nil {
		f.refuse(status.Errorf(codes.InvalidArgument, "subscribe: malformed StreamSubscription: %v", err))
		return
	}
	if err := f.may(space, access.Read); err != nil {
		f.refuse(err)
		return
	}
	sub, message, err := f.subscription(space, &wish)
	if err != nil {
		f.refuse(f.s.invalid(err))
		return
	}
	f.say(f.in.Sequence, pb.FlowStatus_STATE_ACTIVE, message) // before its first event
	select {
	case f.subs <- sub:
	case <-f.halt:
	}
}

// subscription makes what the client asked for, and tells it what that comes to. Asked for nothing, it is nil.
func (f *memoryFlow) subscription(space string, wish *pb.StreamSubscription) (*subscription, string, error) {
	kinds := wish.GetEventTypes()
	least := float64(wish.GetMinImportance())
	switch {
	case wish.GetBufferSize() < 0:
		return nil, "", fmt.Errorf("subscribe.buffer_size: expected 0 (%d) or more, got %d", eventsDefault, wish.GetBufferSize())
	case math.IsNaN(least) || least < 0 || least > 1:
		return nil, "", fmt.Errorf("subscribe.min_importance: expected 0 to 1, got %v", wish.GetMinImportance())
	case len(kinds) > 0 && !slices.ContainsFunc(kinds, func(k pb.StreamEventType) bool { return k != pb.StreamEventType_STREAM_EVENT_TYPE_UNSPECIFIED }):
		return nil, "the subscription is over: it asks for nothing", nil
	case len(kinds) > 0 && !slices.Contains(kinds, pb.StreamEventType_STREAM_EVENT_TYPE_STORAGE):
		return nil, "", fmt.Errorf("subscribe.event_types: expected STREAM_EVENT_TYPE_STORAGE among them, the one kind that the sidecar knows of, got %v", kinds)
	}
	sub := &subscription{
		space: space, importance: wish.GetMinImportance(), pressure: wish.GetEnableBackpressure(), sequence: f.in.Sequence,
		limit: min(int(wish.GetBufferSize()), eventsMost), arrived: make(chan struct{}, 1),
	}
	if sub.limit == 0 {
		sub.limit = eventsDefault
	}
	return sub, fmt.Sprintf("subscribed to what becomes of memories in space %s: stored, dead-lettered, damaged; with more than %d events waiting the subscription is dropped",
		space, sub.limit), nil
}

// control obeys a flow control message and confirms it.
func (f *memoryFlow) control(c *envelope.Flow) {
	var err error
	var message string
	switch c.Action {
	case envelope.FlowPause:
		err = f.att.Pause()
		message = "paused: memories are refused until RESUME; what was accepted goes on to the store"
	case envelope.FlowResume:
		err = f.att.Resume()
		message = "active: memories are taken"
	case envelope.FlowSlowDown:
		f.manners.rate(c.PreferredRate, 2)
		message = f.rateText()
	case envelope.FlowSpeedUp:
		f.manners.rate(c.PreferredRate, 0.5)
		message = f.rateText()
	case envelope.FlowBufferStatus:
		n := max(c.BufferRemaining, 0)
		f.manners.limit.Store(int64(n))
		message = fmt.Sprintf("at most %d events are queued", n)
	default:
		f.refuse(f.s.invalid(fmt.Errorf("control.action: expected PAUSE, RESUME, SLOW_DOWN, SPEED_UP or BUFFER_STATUS, got %v", c.Action)))
		return
	}
	if err != nil { // the session was taken over: the stream ends
		return
	}
	state := pb.FlowStatus_STATE_ACTIVE
	if f.att.State() == session.Paused {
		state = pb.FlowStatus_STATE_PAUSED
	}
	f.say(f.in.Sequence, state, message)
}

func (f *memoryFlow) rateText() string {
	if !f.manners.rated() {
		return "events as they come"
	}
	return fmt.Sprintf("at most one event every %v", time.Duration(f.manners.interval.Load()))
}

// eventWatch passes a subscription's events on, as the client's manners and its reading allow. It is the supervisor's.
type eventWatch struct {
	sub     *subscription
	warning warning

	next time.Time // when the client's rate allows the next one

	arrived  <-chan struct{}  // there is an event
	room     <-chan struct{}  // there may be room for one
	pause    <-chan time.Time // the client's rate allows one
	pressure <-chan struct{}  // the pressure has changed
	again    <-chan time.Time // there was no room to tell of it
}

func (w *eventWatch) follow(f *memoryFlow, sub *subscription) {
	w.end(f)
	if sub == nil {
		return
	}
	w.sub, w.arrived = sub, sub.arrived
	f.s.news.subscribe(sub)
	if sub.pressure {
		w.warn(f)
	}
}

// end lets go of the subscription, if there is one.
func (w *eventWatch) end(f *memoryFlow) {
	if w.sub != nil {
		f.s.news.unsubscribe(w.sub)
	}
	*w = eventWatch{}
}

// pass sends what may be sent now, and waits for what it is short of.
func (w *eventWatch) pass(f *memoryFlow) {
	for {
		changed := f.change()
		early := time.Until(w.next)
		e, found := w.sub.take(early <= 0 && f.allows())
		w.room, w.pause = nil, nil
		switch found {
		case eventTaken:
			if err := f.may(w.sub.space, access.Read); err != nil { // the token was taken away meanwhile
				f.end(err, false)
				return
			}
			w.tell(f, e.response(w.sub.space))
			w.next = time.Now().Add(time.Duration(f.manners.interval.Load()))
			continue
		case eventsDropped:
			w.drop(f)
		case eventsHeld:
			if w.room = changed; early > 0 {
				w.room, w.pause = nil, time.After(early)
			}
		case eventsNone:
		}
		return
	}
}

// allows says whether one more message that nobody asked for may be queued.
func (f *memoryFlow) allows() bool {
	l := f.level()
	return int64(l.unasked) < f.manners.limit.Load() && l.bytes < f.room
}

func (w *eventWatch) tell(f *memoryFlow, e *pb.StreamResponse) {
	res := f.response(0)
	res.Response = &pb.MemoryFlowResponse_Event{Event: e}
	f.respond(answerUnasked, res)
}

// drop ends the subscription of a client that is too slow for it, and tells it so; the stream goes on.
func (w *eventWatch) drop(f *memoryFlow) {
	message := fmt.Sprintf("the subscription is dropped: more than %d events waited for this client; subscribe again, with a larger buffer_size or a higher min_importance", w.sub.limit)
	f.replyStatus(answerUnasked, w.sub.sequence, &pb.FlowStatus{State: pb.FlowStatus_STATE_ERROR, Message: message})
	w.end(f)
}

// warn tells a subscriber that the way to the store is filling up, or that there is room again.
func (w *eventWatch) warn(f *memoryFlow) {
	w.pressure, w.again = f.s.gauge.changes(), nil
	pressure, turn := w.warning.judge(f.s.gauge.pressure(wal.LaneNormal))
	switch {
	case turn == turnNone:
		return
	case !f.allows():
		w.again = time.After(f.manners.pause())
		return
	}
	w.warning.told(pressure, turn)
	e := &pb.StreamResponse{
		Timestamp: timestamppb.Now(), Description: "there is room again", Importance: float32(pressure),
		Metadata: map[string]string{"event": "pressure", "pressure": strconv.FormatFloat(pressure, 'f', 2, 64)},
	}
	if turn == turnHigh {
		e.Description = fmt.Sprintf("the way to the store is %.0f %% full: slow down", 100*pressure)
	}
	w.tell(f, e)
}
