package proxy

import (
	"errors"
	"fmt"
	"math"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// priorityKey is the metadata that sets a new session's lane.
const priorityKey = "engram-priority"

// open takes the first message of a stream: it begins a session or resumes one, and queues the ack. The error ends the
// stream; whether there is one or not, the session is given up by the handler, if att is set.
func (o *observation) open() error {
	o.writing.Lock() // so that the end of the stream waits until the session's fate is known
	defer o.writing.Unlock()
	if o.stopped {
		return errStopping()
	}
	obs := &o.in.obs
	fault := envelope.ScanObservation(o.in.frame, obs)
	if obs.Op != envelope.OpInit && (fault == nil || !errors.Is(fault, envelope.ErrMalformed)) {
		o.s.observer.Refused(ReasonSession)
		return errInitFirst(obs.Op.String())
	}
	if fault != nil {
		o.s.observer.Refused(ReasonInvalid)
		return status.Errorf(codes.InvalidArgument, "init: %v", fault)
	}
	var err error
	if len(obs.Session) == 0 {
		o.att, err = o.begin(obs)
	} else {
		o.att, err = o.resume(string(obs.Session))
	}
	if err != nil {
		return err
	}
	o.id = o.att.ID()
	o.idText = o.id.String()
	o.space, o.lane = o.att.Space(), wal.Lane(o.att.Lane())
	o.backpressure = obs.Init.EnableBackpressure
	o.manners.init(obs.Init.ClientBufferSize)
	o.s.log.Debug("session attached", "session", o.idText, "space", o.space, "priority", o.lane, "after", o.att.Next()-1)
	if o.fates != nil {
		o.fates.behind = o.att.Next() > 1 // the ledger knows what became of the observations before this stream
		o.acked = o.att.Next() - 1
		o.s.news.follow(o.id, o.fates)
	}
	o.acknowledge()
	close(o.opened)
	return nil
}

// begin makes a new session, durable before anybody is told its id.
func (o *observation) begin(obs *envelope.Observation) (*session.Attachment, error) {
	space, err := o.s.spaceOf(obs.Space)
	if err != nil {
		o.s.observer.Refused(ReasonInvalid)
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := o.mayWrite(space); err != nil {
		return nil, err
	}
	lane, err := o.priority()
	if err != nil {
		o.s.observer.Refused(ReasonInvalid)
		return nil, status.Errorf(codes.InvalidArgument, "metadata %s: %v", priorityKey, err)
	}
	id := wal.SessionID(uuid.New())
	att, err := o.s.sessions.Open(id, space, uint8(lane))
	if err != nil {
		return nil, o.s.statusOfAttach(err, "")
	}
	record := wal.Record{Kind: wal.KindSessionOpened, Session: id, Space: space, Lane: lane}
	if _, err := o.s.deps.Journal.Write(o.detached(), &record); err != nil {
		att.Abandon()
		return nil, o.s.statusOfWrite(err, lane)
	}
	return att, nil
}

// resume takes hold of a session that is known, and waits until an earlier holder's writes are settled.
func (o *observation) resume(text string) (*session.Attachment, error) {
	id, err := wal.ParseSessionID(text)
	if err != nil {
		return nil, o.s.statusOfAttach(session.ErrNotFound, text)
	}
	if space, ok := o.s.sessions.Space(id); ok { // before the stream that has it is fenced
		if err := o.mayWrite(space); err != nil {
			return nil, err
		}
	}
	att, err := o.s.sessions.Attach(id)
	if err != nil {
		return nil, o.s.statusOfAttach(err, text)
	}
	select {
	case <-att.Ready():
		err = nil
		if att.State() == session.Closed { // by the earlier holder, while this one waited
			err = o.s.statusOfAttach(session.ErrClosed, text)
		}
	case <-att.Fenced():
		err = o.s.statusOfAttach(session.ErrFenced, text)
	case <-o.halt:
		err = errStopping()
	}
	if err != nil {
		att.Release()
		return nil, err
	}
	return att, nil
}

// priority reads the lane that the client asks for.
func (o *observation) priority() (wal.Lane, error) {
	md, _ := metadata.FromIncomingContext(o.stream.Context())
	values := md.Get(priorityKey)
	switch len(values) {
	case 0:
		return wal.LaneNormal, nil
	case 1:
		return wal.ParseLane(values[0])
	default:
		return 0, fmt.Errorf("expected it once, got it %d times", len(values))
	}
}

// acknowledge queues the init_ack.
func (o *observation) acknowledge() {
	load := o.s.deps.Lanes.Load(o.lane)
	o.limited = load.Limit > 0
	o.reply(answerReady, envelope.AppendInitAck(nil, o.header(o.in.obs.Sequence), envelope.InitAck{
		InitialSequence: o.att.Next() - 1, // all that was accepted is settled: this is the last durable one
		Capabilities: envelope.Capabilities{
			QueueCapacity:             clamp32(max(load.Capacity, 1)),
			SupportsBackpressure:      true,
			SupportsSnapshotIsolation: true,
		},
	}))
}

// spaceOf is the memory space that a request means.
func (s *Server) spaceOf(space []byte) (string, error) {
	if len(space) == 0 {
		return s.cfg.DefaultSpace, nil
	}
	if err := envelope.ValidSpace(space); err != nil {
		return "", err
	}
	return string(space), nil
}

func clamp32(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }
