// Package buffers is the memory that messages pass through on their way in from a connection.
//
// It promises buffers that are used again without being cleared first: gRPC's own pool clears each, and an observation would
// be written twice. It may, because gRPC fills every byte of a buffer from the connection before anybody reads it, and nobody
// reads past its length. It has no goroutines, and keeps nothing that the garbage collector may not take.
package buffers

import "sync"

// sizes are what buffers are made of, in bytes, each one that Go allocates without a rest. An observation of 768 numbers and
// a line of text fits the second or the third. What is larger than the last is not kept; what is small gRPC does not ask for.
// One step is at most twice the one before, so that a message that waits to be read costs no more than twice its length.
var sizes = [...]int{2 << 10, 3200, 3456, 4 << 10, 8 << 10, 16 << 10, 32 << 10}

// Pool is a gRPC buffer pool. The zero value is ready for use, by any number of goroutines at once.
type Pool struct {
	bySize [len(sizes)]sync.Pool
	loans  Loans
}

// Get returns a buffer of this many bytes, which may hold those of an earlier message.
func (p *Pool) Get(length int) *[]byte {
	for i, size := range sizes {
		if length > size {
			continue
		}
		b, ok := p.bySize[i].Get().(*[]byte)
		if !ok {
			b = new([]byte)
			*b = make([]byte, size)
		}
		*b = (*b)[:length]
		p.loans.Lent(*b)
		return b
	}
	b := make([]byte, length)
	return &b
}

// Put takes a buffer that Get has given, or a prefix of it. Nobody may use it after that.
func (p *Pool) Put(b *[]byte) {
	for i, size := range sizes {
		if cap(*b) == size {
			p.loans.Freed(*b)
			p.bySize[i].Put(b)
			return
		}
	}
	Spoil(*b)
}
