package proxy

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// received is what the receiver works on: the message it has read, and what it has made of it. It is used again for the
// next one, so that an observation costs one allocation, that of its bytes.
type received struct {
	frame   Frame
	arrived int64 // Unix nanoseconds
	obs     envelope.Observation
	episode envelope.Episode
	record  wal.Record
	text    []byte // scratch space for ids and refusals
	full    bool   // the last observation was refused for want of room
	barren  int    // messages since the last observation that was accepted
}

// forget lets go of the message, so that an idle stream does not keep its last one in memory.
func (in *received) forget() {
	in.frame, in.obs, in.episode = nil, envelope.Observation{}, envelope.Episode{}
	in.record.ID, in.record.Payload = nil, nil
}

// handle answers one message after the first.
func (o *observation) handle() {
	o.in.arrived = time.Now().UnixNano()
	defer o.in.forget()
	if o.in.barren++; o.in.barren%barrenFew == 0 {
		defer o.s.pace(o.halt)
	}
	obs := &o.in.obs
	if err := envelope.ScanObservation(o.in.frame, obs); err != nil {
		o.refuse(ReasonInvalid, err.Error())
		return
	}
	if len(obs.Session) > 0 && string(obs.Session) != o.idText {
		o.refuse(ReasonSession, fmt.Sprintf("session_id: expected %s, which this stream was opened for, or none, got another", o.idText))
		return
	}
	switch obs.Op {
	case envelope.OpObservation:
		o.observe()
	case envelope.OpFlow:
		o.flow(&obs.Flow)
	case envelope.OpClose:
		o.close(&obs.Close)
	case envelope.OpInit:
		o.refuse(ReasonInvalid, "init: expected it once, as the first message; this stream's session goes on: send observations")
	case envelope.OpNone:
		o.refuse(ReasonInvalid, "operation: expected one of init, observation, flow, close, got none")
	}
}

// observe takes one observation into the journal, or refuses it.
func (o *observation) observe() {
	if err := o.att.Check(o.in.obs.Sequence); err != nil {
		o.refuseSession(err)
		return
	}
	if err := o.judge(); err != nil {
		o.refuse(reasonOf(err), err.Error())
		return
	}
	for {
		err := o.accept()
		switch {
		case err == nil:
			o.in.full, o.in.barren = false, 0
		case errors.Is(err, wal.ErrRefused): // comes before ErrFull, which it is too
			o.learn() // answers those before it, and rolls back
			continue
		case errors.Is(err, wal.ErrFull) && !o.backpressure:
			if o.holdUp() {
				continue
			}
		case errors.Is(err, wal.ErrFull):
			o.learn() // where those before it were refused too, they are to be sent again first
			o.in.full = true
			o.refuseFull(err)
		case errors.Is(err, wal.ErrFailed), errors.Is(err, wal.ErrClosed):
			o.learn() // what is durable is acked before the end
			o.end(o.s.statusOfWrite(err, o.lane), true)
		case isSessionError(err):
			o.refuseSession(err)
		default:
			o.s.log.Error("an observation was refused by the journal", "session", o.idText, "error", err)
			o.refuse(ReasonInvalid, err.Error())
		}
		return
	}
}

// laneFullError refuses a record as a full journal does: it is a wal.ErrFull.
type laneFullError struct {
	lane wal.Lane
	load Load
}

func (e *laneFullError) Error() string {
	return fmt.Sprintf("lane full: %d of %d observations of priority %v wait for the store (lane-capacity)", e.load.Depth, e.load.Limit, e.lane)
}

func (e *laneFullError) Is(target error) bool { return target == wal.ErrFull }

// errEnded says that the stream ends, and that its client gets no answer to this message. The stream's end has begun by
// then, so that receive gives no other.
var errEnded = fmt.Errorf("the stream ends: %w", session.ErrFenced)

// accept appends the prepared record. The error is the journal's, or the session's.
func (o *observation) accept() error {
	o.writing.Lock()
	defer o.writing.Unlock()
	if o.stopped {
		return errEnded
	}
	in := &o.in
	if err := o.att.Check(in.obs.Sequence); err != nil { // again: a refusal may have rolled back meanwhile
		return err
	}
	if o.limited {
		if load := o.s.deps.Lanes.Load(o.lane); load.full() {
			return &laneFullError{o.lane, load}
		}
	}
	return o.append(&in.record, answer{sequence: in.obs.Sequence, arrived: in.arrived}, in.text)
}

// holdUp keeps the receiver from reading on until there may be room. It returns false when the stream ends.
func (o *observation) holdUp() bool {
	select {
	case <-o.s.gauge.tick():
		return true
	case <-o.halt:
		return false
	}
}

// judge refuses a bad observation, and makes the record of a good one. The episode's bytes stay where the codec has put them,
// unless they are a small part of their message; a made id is written behind them, over what follows in the message and was
// read before.
func (o *observation) judge() error {
	in := &o.in
	if n := len(in.obs.Body); n > o.s.bounds().MaxEpisodeBytes {
		return &sizeError{field: "observation", limit: o.s.bounds().MaxEpisodeBytes, got: n}
	}
	if err := envelope.ScanEpisode(in.obs.Body, &in.episode); err != nil {
		return err
	}
	space := o.space
	if s := in.obs.Space; len(s) > 0 && string(s) != space {
		if err := envelope.ValidSpace(s); err != nil {
			return err
		}
		if string(s) != in.record.Space { // or else the one of the observation before, which is there already
			in.record.Space = string(s)
		}
		space = in.record.Space
	}
	if err := o.mayWrite(space); err != nil {
		return errors.New(status.Convert(err).Message())
	}
	payload, id := in.obs.Body, in.episode.ID
	in.text = append(in.text[:0], id...)
	if len(id) == 0 {
		var scratch [madeIDSize]byte
		made := appendMadeID(scratch[:0], o.idText, in.obs.Sequence)
		payload = envelope.AppendEpisodeID(payload[:0], payload, made)
		id = payload[len(payload)-len(made):]
	}
	payload, id = compact(in.frame, payload, id)
	in.record = wal.Record{
		Kind: wal.KindWrite, Form: wal.FormEpisode, Lane: o.lane, Session: o.id, Sequence: in.obs.Sequence, Space: space,
		ID: id[:len(id):len(id)], Payload: payload[:len(payload):len(payload)],
	}
	return nil
}

// keptSlack is how much of a message may stay in memory on behalf of a record without being part of it: what lies around an
// episode in an ordinary message is far less.
const keptSlack = 1 << 10

// compact moves a payload and its id out of their message where most of that is neither. The journal keeps a record's slices,
// and with them the whole message; what it counts is the payload.
func compact(message Frame, payload, id []byte) (keptPayload, keptID []byte) {
	n := len(payload)
	if cap(message) <= n+len(id)+keptSlack {
		return payload, id
	}
	kept := make([]byte, 0, n+len(id))
	kept = append(append(kept, payload...), id...)
	return kept[:n], kept[n:]
}

// madeIDSize is enough for a session's id, a dash and any sequence.
const madeIDSize = 36 + 1 + 20

// appendMadeID appends the memory id of an episode that has none of its own. No other session can make it, and the same
// observation always gets the same.
func appendMadeID(dst []byte, session string, sequence uint64) []byte {
	dst = append(dst, session...)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, sequence, 10)
}

// sizeError refuses what is larger than it may be.
type sizeError struct {
	field      string
	limit, got int
}

func (e *sizeError) Error() string {
	return fmt.Sprintf("%s: expected at most %d bytes, got %d", e.field, e.limit, e.got)
}

func reasonOf(err error) string {
	var size *sizeError
	if errors.As(err, &size) {
		return ReasonTooLarge
	}
	return ReasonInvalid
}
