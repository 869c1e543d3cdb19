package proxy

import (
	"sync"
	"time"
)

// outbox is the queue of the answers that a stream owes, in the order in which its requests came. Those before the mark are
// settled and can go; an ack behind it waits for the journal, and everything behind that ack waits with it.
type outbox struct {
	mu      sync.Mutex
	head    place // the oldest answer
	mark    place // the oldest that is not settled
	tail    *chunk
	bytes   int // of answers and texts
	payload int // bytes in the journal and not yet settled
	owed    int // acks that are not settled
	unasked int // messages that no request asked for

	handing bool // the sender is about to give the transport what it has taken, or waits until it can
	since   int  // bytes that were queued since it took that

	start   func() // starts a sender
	sending bool   // a sender is at work
	poked   bool   // it has something to look at that is not in here
	broken  bool   // the sender has failed: there will be none any more

	changed chan struct{} // closed at the next change that somebody waits for; nil while nobody does
}

// push queues an answer with its text, which is copied.
func (o *outbox) push(a answer, text []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tail == nil || o.tail.n == len(o.tail.answers) {
		c := newChunk()
		if o.tail == nil {
			o.head, o.mark = place{chunk: c}, place{chunk: c}
		} else {
			o.tail.next = c
		}
		o.tail = c
	}
	c := o.tail
	a.start, a.length = uint32(len(c.text)), uint32(len(text)) //nolint:gosec // bounded by the message size
	c.text = append(c.text, text...)
	c.answers[c.n] = a
	c.n++
	o.bytes += costOf(&a)
	o.since += costOf(&a)
	o.payload += int(a.payload)
	switch a.kind {
	case answerAck:
		o.owed++
	case answerUnasked:
		o.unasked++
	case answerRefused, answerReady:
	}
	if !o.sending && !o.broken && o.start != nil {
		o.sending = true
		o.start()
	}
}

// poke has a sender look at what is not in the outbox: it does not rest before it has.
func (o *outbox) poke() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken || o.start == nil {
		return
	}
	o.poked = true
	if !o.sending {
		o.sending = true
		o.start()
	}
}

// repose is what a sender that found nothing to send does next.
type repose uint8

const (
	resting repose = iota // leave: the next push or poke starts another
	waiting               // wait for the journal, or a nudge
	looking               // look again: it was poked
)

// rest says what a sender that found nothing to send does next.
func (o *outbox) rest() repose {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.poked:
		o.poked = false
		return looking
	case o.bytes > 0:
		return waiting
	}
	o.sending = false
	o.notify()
	return resting
}

// retire is told that the sender has left without a rest: there will be no other.
func (o *outbox) retire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sending, o.broken = false, true
	o.notify()
}

// settle moves the mark over all that has nothing to wait for once the records up to durable are durable. It calls settled
// with the sequence of the last ack among that, before anybody can see that the ack is owed no more.
func (o *outbox) settle(durable uint64, at time.Time, settled func(last uint64)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var last uint64
	n, moved := 0, false
	for o.mark.forward() {
		a := &o.mark.answers[o.mark.at]
		if a.kind == answerAck {
			if a.index > durable {
				break
			}
			n, last = n+1, a.sequence
			a.committed = at.UnixNano()
			o.payload -= int(a.payload)
		}
		o.mark.at++
		moved = true
	}
	o.owed -= n
	if n > 0 {
		settled(last)
	}
	if moved {
		o.notify()
	}
}

// refuse settles all acks that are left as refused. It returns how many that were.
func (o *outbox) refuse() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.mark.forward() {
		if a := &o.mark.answers[o.mark.at]; a.kind == answerAck {
			a.kind = answerRefused
			o.payload -= int(a.payload)
			n++
		}
		o.mark.at++
	}
	o.owed -= n
	o.notify()
	return n
}

// drop gives up all that is not settled: nobody can tell any more what will become of it.
func (o *outbox) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := o.mark; c.forward(); c.at++ {
		a := &c.answers[c.at]
		o.bytes -= costOf(a)
		if a.kind == answerUnasked {
			o.unasked--
		}
	}
	if o.tail != nil {
		for c := o.mark.next; c != nil; {
			next := c.next
			freeChunk(c)
			c = next
		}
		o.tail, o.mark.next, o.mark.n = o.mark.chunk, nil, o.mark.at
	}
	o.owed, o.payload = 0, 0
	o.notify()
}

// take removes settled answers from the front, oldest first, and gives each to visit with its text, which is valid during
// the call, until visit says that it was enough.
func (o *outbox) take(visit func(a *answer, text []byte) (more bool)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	moved := false
	held := o.handing
	o.handing, o.since = false, 0
	for more := true; more && o.head != o.mark; {
		if o.head.at == o.head.n { // the mark is in a later chunk
			done := o.head.chunk
			o.head = place{chunk: done.next}
			freeChunk(done)
			continue
		}
		a := &o.head.answers[o.head.at]
		more = visit(a, o.head.textOf(a))
		o.head.at++
		o.bytes -= costOf(a)
		if a.kind == answerUnasked {
			o.unasked--
		}
		moved = true
	}
	o.handing = moved
	if o.bytes == 0 && o.tail != nil { // an idle stream keeps no memory for its answers
		freeChunk(o.tail)
		o.head, o.mark, o.tail = place{}, place{}, nil
	}
	if moved || held {
		o.notify()
	}
}

// notify wakes whoever waits for a change. The lock is held.
func (o *outbox) notify() {
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}

// change returns a channel that is closed at the next change of what level tells. Ask for it first, then look.
func (o *outbox) change() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.changed
}

// level is how full an outbox is.
type level struct {
	bytes   int // answers that wait, with their texts
	payload int // bytes in the journal and not yet settled
	owed    int // acks that are not settled
	unasked int // messages that no request asked for
	sending bool
	stuck   bool // the transport takes nothing, and enough waits behind it: the client does not read
}

// stuckBytes is how much may be queued while the sender hands a batch over. An honest client's sender is back long before.
const stuckBytes = 8 << 10

func (o *outbox) level() level {
	o.mu.Lock()
	defer o.mu.Unlock()
	return level{o.bytes, o.payload, o.owed, o.unasked, o.sending, o.handing && o.since > stuckBytes}
}
