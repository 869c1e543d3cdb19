//go:build spoil_freed

package buffers

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"unsafe"
)

// spoilt is what freed memory is filled with: no text, no tag of a field that any message has, no small number.
const spoilt = 0xDB

// Loans follows memory that is lent, given back and lent again. In this build, which is for tests, it overwrites what was
// given back and what was not lent before, so that whoever reads it then reads nonsense; and it ends the process, with a
// stack, where memory is given back twice, or was written to while nobody had it.
type Loans struct {
	mu  sync.Mutex
	out map[uintptr]bool // where the memory begins that is lent: numbers, so that nothing is kept alive
}

// Lent is told of memory that is handed out: of zeros where it is new, or else as Freed has left it.
func (l *Loans) Lent(b []byte) {
	whole := b[:cap(b)]
	other := func(c byte) bool { return c != spoilt }
	if slices.ContainsFunc(whole, func(c byte) bool { return c != 0 }) && slices.ContainsFunc(whole, other) {
		at := slices.IndexFunc(whole, other)
		violated(fmt.Sprintf("byte %d of %d was written to after they were freed: %.40q", at, len(whole), whole[at:]))
	}
	Spoil(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out == nil {
		l.out = make(map[uintptr]bool)
	}
	l.out[beginning(whole)] = true
}

// Freed is told of memory that was given back, before it can be lent again.
func (l *Loans) Freed(b []byte) {
	l.mu.Lock()
	known := l.out[beginning(b)]
	delete(l.out, beginning(b))
	l.mu.Unlock()
	if !known {
		violated(fmt.Sprintf("%d bytes were freed twice, or were never lent", cap(b)))
	}
	Spoil(b)
}

func beginning(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) } //nolint:gosec // compared, not followed

// Spoil overwrites memory that nobody may read any more.
func Spoil(b []byte) {
	b = b[:cap(b)]
	for i := range b {
		b[i] = spoilt
	}
}

// violated ends the process: a panic could be caught, and the test would be told of a stream that failed.
var violated = func(what string) {
	fmt.Fprintf(os.Stderr, "FREED MEMORY: %s\n%s", what, debug.Stack())
	os.Exit(2)
}
