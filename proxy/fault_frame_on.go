//go:build fault_frame_reused

package proxy

import (
	"sync/atomic"

	"google.golang.org/grpc/mem"
)

var (
	frames     [512]atomic.Pointer[[]byte]
	framesUsed atomic.Uint64
)

// own is broken on purpose in this build: a frame is used again for the 512th message after it, by which time most records
// are durable, and some of them not yet in the store. The test of freed memory must find it out.
func (f *Frame) own(data mem.BufferSlice) {
	n := data.Len()
	place := &frames[framesUsed.Add(1)%uint64(len(frames))]
	old := place.Load()
	if old == nil || cap(*old) < n+frameSlack {
		b := make([]byte, n+frameSlack)
		old = &b
		place.Store(old)
	}
	*f = (*old)[:n]
	data.CopyTo(*f)
}
