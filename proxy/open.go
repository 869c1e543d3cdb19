package proxy

import (
	"errors"
	"math"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

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
		o.att, err = o.beginSession(obs.Space, o.mayWrite)
	} else {
		o.att, err = o.resumeSession(string(obs.Session), o.mayWrite)
	}
	if err != nil {
		return err
	}
	o.id = o.att.ID()
	o.idText = o.id.String()
	o.space, o.lane = o.att.Space(), wal.Lane(o.att.Lane())
	o.backpressure = obs.Init.EnableBackpressure
	o.manners.init(obs.Init.ClientBufferSize)
	if o.backpressure {
		o.paced = o.sayQuota
	}
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

// acknowledge queues the init_ack.
func (o *observation) acknowledge() {
	load := o.s.deps.Lanes.Load(o.lane)
	o.limited = load.Limit > 0
	o.reply(answerReady, envelope.AppendInitAck(nil, o.header(o.in.obs.Sequence), envelope.InitAck{
		InitialSequence: o.att.Next() - 1, // all that was accepted is settled: this is the last durable one
		Capabilities: envelope.Capabilities{
			MaxObservationsPerSecond:  uint32(o.s.bounds().Quota.Messages), //nolint:gosec // Validate bounds it
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
