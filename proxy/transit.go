package proxy

import (
	"sync"
	"sync/atomic"

	"github.com/engram-sidecar/engram-sidecar/proxy/buffers"
)

// transit is the buffers of answers that gRPC has taken and not yet written to the connection. gRPC itself would queue 64 KiB
// of answers for a client that does not read, and three times that with what it keeps about each; this lets it have two
// buffers, one that it writes and one that comes next.
//
// The sender asks and hands over; gRPC gives a buffer back, from whatever goroutine, when all answers in it are written. It is
// the pool that gRPC's buffers come from and return to.
type transit struct {
	handed  atomic.Int32
	written chan struct{} // cap 1: a buffer has come back
}

// transitMost is how many buffers may be on their way.
const transitMost = 2

// answerBuffer is the size of a buffer, in bytes: what is sent at one go, and the answer that exceeds it.
const answerBuffer = sendBatchBytes + 1280

var (
	answerBuffers = sync.Pool{New: func() any {
		b := make([]byte, 0, answerBuffer)
		return &b
	}}
	answerLoans buffers.Loans // of those
)

func newTransit() transit { return transit{written: make(chan struct{}, 1)} }

// wait returns when another buffer may be handed over, and false when the stream is given up before that.
func (t *transit) wait(quit <-chan struct{}) bool {
	for t.handed.Load() >= transitMost {
		select {
		case <-t.written:
		case <-quit:
			return false
		}
	}
	return true
}

// Get implements mem.BufferPool.
func (t *transit) Get(length int) *[]byte {
	b := make([]byte, length)
	return &b
}

// Put implements mem.BufferPool.
func (t *transit) Put(b *[]byte) {
	freeAnswerBuffer(b)
	t.handed.Add(-1)
	select {
	case t.written <- struct{}{}:
	default:
	}
}

func newAnswerBuffer() *[]byte {
	b := answerBuffers.Get().(*[]byte) //nolint:forcetypeassert,errcheck // nothing else is put there
	answerLoans.Lent(*b)
	return b
}

// freeAnswerBuffer keeps b for the next one, unless a long answer has made it grow.
func freeAnswerBuffer(b *[]byte) {
	if cap(*b) == answerBuffer {
		*b = (*b)[:0]
		answerLoans.Freed(*b)
		answerBuffers.Put(b)
		return
	}
	buffers.Spoil(*b)
}
