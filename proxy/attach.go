package proxy

import (
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// priorityKey is the metadata that sets a new session's lane.
const priorityKey = "engram-priority"

// beginSession makes a new session, durable before anybody is told its id.
func (p *pipe) beginSession(name []byte, may func(space string) error) (*session.Attachment, error) {
	space, err := p.s.spaceOf(name)
	if err != nil {
		p.s.observer.Refused(ReasonInvalid)
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := may(space); err != nil {
		return nil, err
	}
	if p.s.draining.Load() {
		p.s.observer.Refused(ReasonUnavailable)
		return nil, errDraining()
	}
	lane, err := p.priority()
	if err != nil {
		p.s.observer.Refused(ReasonInvalid)
		return nil, status.Errorf(codes.InvalidArgument, "metadata %s: %v", priorityKey, err)
	}
	id := wal.SessionID(uuid.New())
	att, err := p.s.sessions.Open(id, space, uint8(lane))
	if err != nil {
		return nil, p.s.statusOfAttach(err, "")
	}
	record := wal.Record{Kind: wal.KindSessionOpened, Session: id, Space: space, Lane: lane}
	if _, err := p.s.deps.Journal.Write(p.detached(), &record); err != nil {
		att.Abandon()
		return nil, p.s.statusOfWrite(err, lane)
	}
	return att, nil
}

// resumeSession takes hold of a session that is known, and waits until an earlier holder's writes are settled.
func (p *pipe) resumeSession(text string, may func(space string) error) (*session.Attachment, error) {
	id, err := wal.ParseSessionID(text)
	if err != nil {
		return nil, p.s.statusOfAttach(session.ErrNotFound, text)
	}
	if space, ok := p.s.sessions.Space(id); ok { // before the stream that has it is fenced
		if err := may(space); err != nil {
			return nil, err
		}
	}
	att, err := p.s.sessions.Attach(id)
	if err != nil {
		return nil, p.s.statusOfAttach(err, text)
	}
	select {
	case <-att.Ready():
		err = nil
		if att.State() == session.Closed { // by the earlier holder, while this one waited
			err = p.s.statusOfAttach(session.ErrClosed, text)
		}
	case <-att.Fenced():
		err = p.s.statusOfAttach(session.ErrFenced, text)
	case <-p.halt:
		err = errStopping()
	}
	if err != nil {
		att.Release()
		return nil, err
	}
	return att, nil
}

// priority reads the lane that the client asks for.
func (p *pipe) priority() (wal.Lane, error) {
	md, _ := metadata.FromIncomingContext(p.stream.Context())
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
