package proxy

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// observation is one ObserveStream or MemoryStream. Fields without an owner in their comment are set before the stream is opened and do
// not change after.
type observation struct {
	pipe
	att          *session.Attachment
	id           wal.SessionID
	idText       string
	space        string
	lane         wal.Lane
	backpressure bool   // the client wants to be told, and refused, rather than held up
	limited      bool   // the lane has a limit of its own
	fates        *fates // what the client is to be told of later; nil where it did not ask

	in      received      // the receiver's
	quota   quotaWatch    // the receiver's
	manners manners       // how much the sidecar says of its own accord
	opened  chan struct{} // closed when the session is attached
	drain   chan struct{} // closed when the session is closed and is to be drained
}

// observe serves ObserveStream.
func (s *Server) observe(_ any, stream grpc.ServerStream) error {
	return s.serveObservations(stream, "ObserveStream", false)
}

// memoryStream serves MemoryStream: an ObserveStream with INDEXED acks always on.
func (s *Server) memoryStream(_ any, stream grpc.ServerStream) error {
	return s.serveObservations(stream, "MemoryStream", true)
}

// serveObservations is the supervisor, and starts the receiver.
func (s *Server) serveObservations(stream grpc.ServerStream, method string, indexed bool) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	wanted, err := readAcks(md)
	if err != nil {
		s.observer.Refused(ReasonInvalid)
		return status.Errorf(codes.InvalidArgument, "metadata %s: %v", acksKey, err)
	}
	o := &observation{opened: make(chan struct{}), drain: make(chan struct{})}
	o.prepare(s, stream, method, o)
	o.merges = wanted.cumulative
	if wanted.indexed || indexed {
		o.fates = &fates{o: o}
		o.news = o.fates.tell
		o.room /= 2 // the fates that wait take a quarter
	}
	s.streamCount.Add(1)
	defer s.streamCount.Add(-1)
	s.streams.Go(o.receiveAll) // ends when this handler has returned; Run waits for it
	return o.supervise()
}

// receiveAll is the receiver: it opens the session and takes messages until the end.
func (o *observation) receiveAll() {
	defer o.s.caught(o.method, func(err error) { o.end(err, false) })
	if !o.receive(&o.in.frame) {
		return
	}
	if err := o.open(); err != nil {
		o.end(err, false)
		return
	}
	for o.receive(&o.in.frame) {
		o.handle()
	}
}

// supervise keeps watch over the stream, and gives the session up whatever the watch has come to.
func (o *observation) supervise() error { return o.leave(o.watch()) }

// watch waits until the stream's time has come, and speaks to the client of the sidecar's own accord until then.
func (o *observation) watch() (fenced <-chan struct{}) {
	defer o.s.caught(o.method, func(err error) { o.end(err, false) })
	var (
		opened  = o.opened
		drain   = o.drain
		drained drainWatch
		warning warningWatch
		pace    paceWatch
	)
	for {
		select {
		case <-o.ending:
		case <-o.stream.Context().Done():
			o.end(o.stream.Context().Err(), false)
		case <-o.s.stopping:
			o.end(errStopping(), true)
		case <-fenced:
			o.end(errTakenOver(o.idText), false)
		case <-opened:
			opened, fenced = nil, o.att.Fenced()
			warning.begin(o)
			pace.begin(o)
			continue
		case <-pace.changed:
			pace.take(o)
			continue
		case <-pace.turn:
			pace.take(o)
			continue
		case <-warning.changed:
			warning.look(o)
			continue
		case <-warning.pause:
			warning.look(o)
			continue
		case <-drain:
			drain = nil
			drained.begin(o)
			continue
		case <-drained.changed:
			drained.wait()
			continue
		case <-drained.pause:
			drained.look(o)
			continue
		case <-drained.report:
			drained.tell(o)
			continue
		}
		return fenced
	}
}

// leave ends the stream, and gives the session up when all that was appended is settled.
func (o *observation) leave(fenced <-chan struct{}) error {
	defer func() {
		if o.att != nil { // finish has seen the receiver out of open, which sets it
			if o.fates != nil {
				o.s.news.unfollow(o.id, o.fates)
			}
			o.s.log.Debug("session released", "session", o.idText, "after", o.att.Next()-1, "code", status.Code(o.result).String())
			o.att.Release()
		}
	}()
	if o.fates != nil {
		o.fates.end()
	}
	complete, result := o.finish(fenced)
	if !complete && o.stream.Context().Err() == nil {
		return errTakenOver(o.idText)
	}
	return result
}

// accepted, durable, rollBack and appendAnswer make an observation the owner of its pipe.
func (o *observation) accepted(sequence uint64) { o.att.Accepted(sequence) }

func (o *observation) durable(last uint64) { o.att.Durable(last) }

func (o *observation) rollBack(error) error {
	o.att.RollBack()
	return nil
}

func (o *observation) appendAnswer(dst []byte, a *answer, text []byte) []byte {
	if a.kind == answerRefused {
		return envelope.AppendStatus(dst, o.header(a.sequence), o.overloaded("the journal had no room for it after all"))
	}
	var scratch [madeIDSize]byte
	if len(text) == 0 {
		text = appendMadeID(scratch[:0], o.idText, a.sequence)
	}
	committed := time.Unix(0, a.committed)
	h := envelope.Header{Session: o.idText, Sequence: a.sequence, Now: committed}
	return envelope.AppendAck(dst, h, envelope.Ack{Status: envelope.AckAccepted, MemoryID: text, CommittedAt: committed})
}

func (o *observation) header(sequence uint64) envelope.Header {
	return envelope.Header{Session: o.idText, Sequence: sequence, Now: time.Now()}
}
