package proxy

import (
	"sync"
	"unsafe"

	"github.com/engram-sidecar/engram-sidecar/proxy/buffers"
)

// answerKind says what becomes of an answer when its turn comes.
type answerKind uint8

const (
	answerAck     answerKind = iota // waits for the fsync of its record, then says accepted
	answerRefused                   // was to be an ack, but its record was refused after all
	answerReady                     // text is the whole message; it only waits for its turn
	answerUnasked                   // the same, for what no request asked for
)

// answer is one entry of an outbox. A made memory id takes no room: it is made again from the sequence.
type answer struct {
	index     uint64 // journal index of the record, with answerAck
	sequence  uint64 // the client's
	arrived   int64  // Unix nanoseconds
	committed int64  // Unix nanoseconds, once settled
	payload   uint32 // bytes in the journal on its behalf, until settled
	start     uint32 // of the text among the chunk's
	length    uint32
	kind      answerKind
}

// chunk is a piece of the outbox's queue. The texts of its answers lie one behind the other, so that an answer costs no
// allocation of its own; none of them points into the client's message, which must not be kept alive by an unread ack.
type chunk struct {
	next    *chunk
	n       int
	answers [32]answer
	text    []byte
}

var chunks sync.Pool // of *chunk

func newChunk() *chunk {
	if c, ok := chunks.Get().(*chunk); ok {
		return c
	}
	return new(chunk)
}

// keptText bounds what a chunk keeps of its text's memory while it is not in use.
const keptText = 4 << 10

func freeChunk(c *chunk) {
	c.next, c.n = nil, 0
	if cap(c.text) > keptText {
		c.text = nil
	}
	c.text = c.text[:0]
	buffers.Spoil(c.text)
	buffers.Spoil(unsafe.Slice((*byte)(unsafe.Pointer(&c.answers)), unsafe.Sizeof(c.answers))) //nolint:gosec // they hold no pointers
	chunks.Put(c)
}

// costOf is what an answer takes of an outbox's room.
func costOf(a *answer) int { return int(unsafe.Sizeof(*a)) + int(a.length) }

func (c *chunk) textOf(a *answer) []byte { return c.text[a.start : a.start+a.length] }

// place is a position in the queue.
type place struct {
	*chunk
	at int
}

// forward moves to the next answer, and says whether there is one.
func (p *place) forward() bool {
	if p.chunk == nil {
		return false
	}
	if p.at == p.n && p.next != nil {
		p.chunk, p.at = p.next, 0
	}
	return p.at < p.n
}
