package proxy

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/access"
	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// memoryFlow is one MemoryFlow: writes, recalls and a subscription on one stream. Its session says who it is and whether it
// is paused; what it writes belongs to no session, as what Remember writes. Answers to writes come in the order of the
// writes; a recall is answered when its answer is there.
//
// The receiver takes the requests, a goroutine of its own answers the recalls, one after the other, and the supervisor, which
// is the handler, passes on the events.
type memoryFlow struct {
	pipe
	att    *session.Attachment
	idText string
	space  string // of requests that name none

	frame   Frame // the receiver's
	in      envelope.MemoryFlow
	barren  int // requests since the last one that was accepted, or was a recall
	manners manners
	opened  chan struct{}      // closed when the session is attached
	recalls chan recallOnFlow  // closed by the receiver when there will be none any more
	subs    chan *subscription // the receiver's to the supervisor: the subscription from now on, nil for none
}

// memoryFlow serves MemoryFlow: it is the supervisor.
func (s *Server) memoryFlow(_ any, stream grpc.ServerStream) error {
	f := &memoryFlow{
		opened: make(chan struct{}), subs: make(chan *subscription), recalls: make(chan recallOnFlow, recallsWaiting),
	}
	f.prepare(s, stream, "MemoryFlow", f)
	f.draining = true // recalls may be owed when the client half-closes
	f.manners.init(0)
	s.streams.Go(f.receiveAll) // both end when this handler has returned; Run waits for them
	s.streams.Go(f.recallAll)
	return f.supervise()
}

// receiveAll is the receiver.
func (f *memoryFlow) receiveAll() {
	defer f.s.caught(f.method, func(err error) { f.end(err, false) })
	defer close(f.recalls)
	for first := true; f.receive(&f.frame); first = false {
		refusal := envelope.ScanMemoryFlow(f.frame, &f.in)
		if first {
			if err := f.open(refusal); err != nil {
				f.end(err, false)
				return
			}
		}
		if err := f.handle(refusal); err != nil {
			f.end(err, true)
			return
		}
		if f.barren++; f.barren > 0 && f.barren%barrenFew == 0 {
			f.s.pace(f.halt)
		}
		f.frame, f.in = nil, envelope.MemoryFlow{} // an idle stream does not keep its last message
	}
	if !f.ends() { // a half-close: what is owed is answered, recalls too
		f.finishRecalls()
	}
}

// finishRecalls ends the stream once all recalls are answered.
func (f *memoryFlow) finishRecalls() {
	select {
	case f.recalls <- recallOnFlow{last: true}:
	case <-f.halt:
	}
}

// open begins or resumes the session that the first request names.
func (f *memoryFlow) open(refusal error) error {
	f.writing.Lock() // so that the end of the stream waits until the session's fate is known
	defer f.writing.Unlock()
	if f.stopped {
		return errStopping()
	}
	if errors.Is(refusal, envelope.ErrMalformed) {
		return f.s.invalid(refusal)
	}
	var err error
	if len(f.in.Session) == 0 {
		f.att, err = f.beginSession(f.in.Space, f.mayUse)
	} else {
		f.att, err = f.resumeSession(string(f.in.Session), f.mayUse)
	}
	if err != nil {
		return err
	}
	f.idText, f.space = wal.SessionID(f.att.ID()).String(), f.att.Space()
	f.s.log.Debug("session attached", "session", f.idText, "space", f.space, "method", f.method)
	close(f.opened)
	return nil
}

// mayUse asks for any right in the session's space; each request asks for its own.
func (f *memoryFlow) mayUse(space string) error {
	if f.may(space, access.Read) == nil {
		return nil
	}
	return f.mayWrite(space)
}

// handle takes one request. The error ends the stream.
func (f *memoryFlow) handle(refusal error) error {
	if refusal == nil && len(f.in.Session) > 0 && string(f.in.Session) != f.idText {
		refusal = fmt.Errorf("session_id: expected %s, which this stream was opened for, or none, got another", f.idText)
	}
	if refusal != nil {
		f.refuse(f.s.invalid(refusal))
		return nil
	}
	space := f.space
	if len(f.in.Space) > 0 {
		if err := envelope.ValidSpace(f.in.Space); err != nil {
			f.refuse(f.s.invalid(err))
			return nil
		}
		space = string(f.in.Space)
	}
	switch f.in.Ask {
	case envelope.AskRemember:
		return f.remember(space)
	case envelope.AskRecall:
		f.recall(space)
		f.barren = -1
	case envelope.AskSubscribe:
		f.subscribe(space)
	case envelope.AskControl:
		f.control(&f.in.Control)
	default:
		f.refuse(f.s.invalid(errors.New("request: expected one of remember, recall, subscribe, control, got none")))
	}
	return nil
}

// remember journals a memory as Remember does. The error ends the stream.
func (f *memoryFlow) remember(space string) error {
	if f.att.State() == session.Paused {
		f.s.observer.Refused(ReasonPaused)
		f.say(f.in.Sequence, pb.FlowStatus_STATE_PAUSED, "the session is paused: send control RESUME, then send this again")
		return nil
	}
	arrived := time.Now().UnixNano()
	record, err := f.s.rememberRecord(f.in.Body)
	if err != nil {
		f.refuse(err)
		return nil
	}
	if own, err := envelope.SpaceOf(f.in.Body); err == nil && len(own) == 0 {
		record.Space = space
	}
	if err := f.mayWrite(record.Space); err != nil {
		f.refuse(err)
		return nil
	}
	record.Payload, record.ID = compact(f.frame, record.Payload, record.ID)
	for {
		err := f.s.laneFull(record.Lane)
		if err == nil {
			err = f.accept(&record, arrived)
		}
		switch {
		case err == nil, errors.Is(err, errEnded):
			f.barren = -1
			return nil
		case errors.Is(err, wal.ErrRefused): // comes before ErrFull, which it is too
			f.learn() // answers those before it, and rolls back
		case errors.Is(err, wal.ErrFull):
			f.learn()
			f.refuse(f.s.statusOfWrite(err, record.Lane))
			return nil
		default:
			f.learn() // what is durable is answered before the end
			return f.s.statusOfWrite(err, record.Lane)
		}
	}
}

// accept appends the record. The error is the journal's, or errEnded.
func (f *memoryFlow) accept(record *wal.Record, arrived int64) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.stopped {
		return errEnded
	}
	return f.appendOnce(record, answer{sequence: uint64(f.in.Sequence), arrived: arrived}) //nolint:gosec // its bits come back
}

// accepted, durable, rollBack and appendAnswer make it the owner of its pipe.
func (f *memoryFlow) accepted(uint64) {}

func (f *memoryFlow) durable(uint64) {}

func (f *memoryFlow) rollBack(error) error { return nil }

func (f *memoryFlow) appendAnswer(dst []byte, a *answer, text []byte) []byte {
	res := f.response(int64(a.sequence)) //nolint:gosec // as they came
	if a.kind == answerRefused {
		after := retryHint(f.s.deps.Lanes.Load(wal.LaneNormal).RetryAfter)
		res.Response = &pb.MemoryFlowResponse_Status{Status: f.refusal(errExhausted("the journal had no room for it after all", after))}
	} else {
		res.Response = &pb.MemoryFlowResponse_RememberResult{RememberResult: remembered(text)}
	}
	return appendMessage(dst, res)
}
