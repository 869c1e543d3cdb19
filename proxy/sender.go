package proxy

import (
	"sync"
	"time"

	"google.golang.org/grpc/mem"
)

// send is the sender: it sends what is settled, in order, and leaves when nothing is owed. The next push starts another,
// so that an idle stream costs no goroutine for it.
func (p *pipe) send() {
	rested := false
	defer func() {
		if !rested { // or else the next sender may be at work already
			p.retire()
		}
	}()
	defer p.s.caught(p.method, func(err error) { p.end(err, false) })
	batch := newSendBatch()
	defer batches.Put(batch)
	for p.transit.wait(p.quit) {
		p.learn()
		batch.collect(p)
		if p.news != nil {
			p.news(batch)
		}
		if err := batch.send(p); err != nil {
			p.end(err, false)
			return
		}
		if len(batch.ends) > 0 {
			continue
		}
		switch p.rest() {
		case resting:
			rested = true
			return
		case looking:
			continue
		case waiting:
		}
		select {
		case <-p.producer.Wake():
		case <-p.nudged:
		case <-p.quit:
			return
		}
	}
}

// sendBatchBytes is how much is encoded at one go: enough to share an allocation among many acks, little enough that the
// receiver does not wait long for the outbox's lock.
const sendBatchBytes = 8 << 10

// sendBatch is what the sender takes out of the outbox at one go.
type sendBatch struct {
	whole   *[]byte // where buf is; nil while nothing was appended
	buf     []byte
	ends    []int // of the messages in the buffer
	out     outgoing
	acks    int
	arrived int64 // of the oldest ack

	held   answer // with pipe.merges: an accepted ack that the next one may stand for
	heldID []byte // its text
	holds  bool
}

var batches sync.Pool // of *sendBatch

func newSendBatch() *sendBatch {
	if b, ok := batches.Get().(*sendBatch); ok {
		return b
	}
	return new(sendBatch)
}

// collect encodes what is settled into a buffer, which send hands over.
func (b *sendBatch) collect(p *pipe) {
	b.ends, b.buf, b.acks = b.ends[:0], b.buf[:0], 0 // a sender that failed may have left something there
	p.take(func(a *answer, text []byte) bool {
		if a.kind == answerAck {
			if b.acks == 0 {
				b.arrived = a.arrived
			}
			b.acks++
			p.acked = a.sequence
			if p.merges {
				b.held, b.heldID, b.holds = *a, append(b.heldID[:0], text...), true
				return true
			}
		}
		b.letGo(p)
		return b.encode(p, a, text)
	})
	b.letGo(p)
}

// encode appends one message, and says whether there is room for more.
func (b *sendBatch) encode(p *pipe, a *answer, text []byte) (more bool) {
	b.begin()
	switch a.kind {
	case answerReady, answerUnasked:
		b.buf = append(b.buf, text...)
	case answerAck, answerRefused:
		b.buf = p.owner.appendAnswer(b.buf, a, text)
	}
	return b.end()
}

// letGo encodes the ack that stands for those before it.
func (b *sendBatch) letGo(p *pipe) {
	if b.holds {
		b.holds = false
		b.encode(p, &b.held, b.heldID)
	}
}

// begin makes room for a message to be appended to buf, and end notes where it ends.
func (b *sendBatch) begin() {
	if b.whole == nil {
		b.whole = newAnswerBuffer()
		b.buf = *b.whole
	}
}

func (b *sendBatch) end() (more bool) {
	b.ends = append(b.ends, len(b.buf))
	return len(b.buf) < sendBatchBytes
}

// send hands all that was collected to gRPC, and with it the buffer.
func (b *sendBatch) send(p *pipe) error {
	if b.whole == nil {
		return nil
	}
	defer func() { b.out = outgoing{} }()
	*b.whole = b.buf
	left := p.transit.hand(b.whole)
	b.whole, b.buf = nil, nil
	start := 0
	for i, end := range b.ends {
		if i == len(b.ends)-1 {
			b.out.Buffer, left = left, nil
		} else {
			b.out.Buffer, left = mem.SplitUnsafe(left, end-start)
		}
		start = end
		if err := p.stream.SendMsg(&b.out); err != nil {
			if left != nil {
				left.Free()
			}
			return err
		}
	}
	if b.acks > 0 {
		p.s.observer.Acked(b.acks, time.Since(time.Unix(0, b.arrived)))
	}
	return nil
}
