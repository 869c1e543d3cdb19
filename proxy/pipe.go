package proxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// pipe is a stream's way into the journal and its answers' way back. It serves every kind of stream that accepts records;
// what is particular to a kind is its owner's.
type pipe struct {
	outbox
	s        *Server
	stream   grpc.ServerStream
	method   string
	producer Producer
	owner    pipeOwner
	room     int // bytes of answers that may wait for the client
	transit  transit

	// writing is held by whoever appends to the journal or changes what may be appended: the receiver, whoever deals with a
	// refusal, and the end of the stream, which thereby waits for the others. It is taken before the outbox's lock.
	writing sync.Mutex
	stopped bool // nothing more may be appended
	lost    bool // what was not durable is given up, and the stream ends

	nudged chan struct{} // cap 1: the sender has something to look at that the journal will not wake it for
	ending chan struct{} // closed by end
	halt   chan struct{} // closed by finish: the receiver is to leave
	quit   chan struct{} // closed by finish: the sender is to leave, whatever is left

	account *account            // the receiver's: whose quota it is; nil until there is one
	paced   func(time.Duration) // is told how long a message has to wait for the quota, and of the end of that with 0; may be nil

	draining bool // the receiver's: the stream ends when it has drained, not with the client's half-close

	sessionless bool // its client has no session to resume: it is told to call again; set before the receiver starts

	merges bool             // one accepted ack stands for those right before it; set before the first push
	news   func(*sendBatch) // the sender sends these too, once all answers that are settled are sent; set before the first push
	acked  uint64           // the sender's: the highest sequence that it has told to be accepted

	once     sync.Once
	result   error       // what the stream ends with; set before ending is closed
	flushing atomic.Bool // what is owed is sent before the end
}

// pipeOwner is what differs between the kinds of stream. The outbox's lock is held in appendAnswer and durable: they must
// not call the pipe.
type pipeOwner interface {
	// appendAnswer appends the message for an ack or a refused one; text is what was pushed with it.
	appendAnswer(dst []byte, a *answer, text []byte) []byte
	// accepted is told that the record with this sequence was appended. Writing is held.
	accepted(sequence uint64)
	// durable is told that the records of all acks up to last are durable.
	durable(last uint64)
	// rollBack is told that the journal has refused whatever was not durable. Writing is held. An error ends the stream.
	rollBack(reason error) error
}

// prepare makes a pipe ready for use.
func (p *pipe) prepare(s *Server, stream grpc.ServerStream, method string, owner pipeOwner) {
	p.s, p.stream, p.method, p.owner = s, stream, method, owner
	p.producer = s.deps.Journal.NewProducer()
	p.room = s.cfg.AnswerBytes
	p.transit = newTransit()
	// Zipped, an ack of 114 bytes is one of 96, and one of 79 is one of 94; and gRPC, which gives the buffer back that it has
	// zipped, would hold 64 KiB of what came of it. The error says that there is no transport, or that the stream is over.
	_ = grpc.SetSendCompressor(stream.Context(), encoding.Identity)
	p.nudged = make(chan struct{}, 1)
	p.ending, p.halt, p.quit = make(chan struct{}), make(chan struct{}), make(chan struct{})
	p.start = func() { s.streams.Go(p.send) } // ends when nothing is owed, or at quit; Run waits for it
}

// end says what the stream ends with, and whether what is owed is sent first. The first call counts.
func (p *pipe) end(result error, flush bool) {
	p.once.Do(func() {
		p.result = result
		p.flushing.Store(flush)
		close(p.ending)
		p.nudge()
	})
}

// finish is called by the handler, once, when the stream is ending, and returns what the stream ends with. All that was
// appended is settled then. When givenUp is closed or the client has left, it waits no more until what is owed is sent:
// complete is false.
func (p *pipe) finish(givenUp <-chan struct{}) (complete bool, result error) {
	close(p.halt)
	p.writing.Lock()
	p.stopped = true
	p.writing.Unlock()
	complete = true
	if p.flushing.Load() {
		complete = p.wait(p.stream.Context().Done(), givenUp, func(l level) bool { return !l.sending })
	}
	close(p.quit)
	p.settled(nil)
	return complete, p.result
}

// settled waits until nothing of the stream is in flight to the journal's disk. It returns false if halt was closed first.
func (p *pipe) settled(halt <-chan struct{}) bool {
	return p.wait(halt, nil, func(l level) bool { return l.owed == 0 })
}

// wait returns true when the outbox is as the caller wants it, and false when one of the channels was closed first.
func (p *pipe) wait(halt, orHalt <-chan struct{}, enough func(level) bool) bool {
	for {
		if enough(p.level()) {
			return true
		}
		changed := p.change()
		p.learn()
		if enough(p.level()) {
			return true
		}
		select {
		case <-changed:
		case <-p.producer.Wake(): // the sender, whose this is, may be held up by a client that does not read
			p.nudge()
		case <-halt:
			return false
		case <-orHalt:
			return false
		}
	}
}

// receive gets the next message into f, once the client's answers and writes in flight leave room for it. It returns false
// when there is none any more, and the end of the stream has begun then. What comes after that is not looked at: it could
// only be refused, as a gap behind what was not taken.
func (p *pipe) receive(f *Frame) bool {
	bytes, payload := p.room, p.s.cfg.WindowBytes
	if !p.wait(p.halt, nil, func(l level) bool { return l.bytes < bytes && l.payload < payload && !l.stuck }) {
		return false
	}
	if p.ends() {
		return false
	}
	err := p.stream.RecvMsg(f)
	switch {
	case p.ends():
	case err == nil:
		return p.pace(len(*f))
	case errors.Is(err, io.EOF):
		if !p.draining {
			p.end(nil, true)
		}
	default:
		if status.Code(err) == codes.ResourceExhausted { // gRPC has refused a message above max-message-bytes
			p.s.observer.Refused(ReasonTooLarge)
		}
		p.end(err, false)
	}
	return false
}

// ends says whether the end of the stream has begun. It has before anything is kept from being appended.
func (p *pipe) ends() bool {
	select {
	case <-p.ending:
		return true
	default:
		return false
	}
}

// append puts r into the journal and queues the ack that its fsync will release. Writing is held.
func (p *pipe) append(r *wal.Record, a answer, text []byte) error {
	r.Index, r.Batch, r.Time = 0, 0, 0
	if err := p.producer.Append(r); err != nil {
		return err
	}
	p.s.retries.superseded(r)
	p.owner.accepted(a.sequence)
	a.kind, a.index, a.payload = answerAck, r.Index, uint32(len(r.Payload)) //nolint:gosec // bounded by the message size
	p.push(a, text)
	if durable, _ := p.producer.Durable(); durable >= r.Index { // the journal's wake-up came before there was an ack
		p.nudge()
	}
	return nil
}

// reply queues a whole message to be sent in its turn.
func (p *pipe) reply(kind answerKind, message []byte) {
	p.push(answer{kind: kind}, message)
	p.nudge()
}

func (p *pipe) nudge() {
	select {
	case p.nudged <- struct{}{}:
	default:
	}
}

// learn takes note of what the journal has done with the stream's records. Any of the stream's goroutines may call it,
// without a lock.
func (p *pipe) learn() {
	if p.producer.Err() == nil {
		p.advance()
		return
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	reason := p.producer.Err() // asked before Durable: once it stands, no more becomes durable
	p.advance()
	switch {
	case reason == nil, p.lost:
	case errors.Is(reason, wal.ErrFull):
		p.refused(reason)
	default:
		p.s.observer.Refused(ReasonUnavailable)
		result := errJournalFailed(reason)
		if p.sessionless {
			result = errJournalFailedCall(reason)
		}
		p.lose(result)
	}
}

// lose ends the stream with what is settled, and takes nothing more. Writing is held.
func (p *pipe) lose(result error) {
	p.lost, p.stopped = true, true
	p.drop()
	p.end(result, true)
}

func (p *pipe) advance() {
	index, at := p.producer.Durable()
	p.settle(index, at, p.owner.durable)
}

// refused answers every ack that is left with a refusal and makes the stream able to go on. Writing is held.
func (p *pipe) refused(reason error) {
	if err := p.owner.rollBack(reason); err != nil {
		p.lose(err)
		return
	}
	for range p.refuse() {
		p.s.observer.Refused(ReasonOverloaded)
	}
	p.producer.Reset()
	p.nudge()
}

// detached is the stream's context for writes whose outcome has to be known even when the client leaves meanwhile.
func (p *pipe) detached() context.Context { return context.WithoutCancel(p.stream.Context()) }
