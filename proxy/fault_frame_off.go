//go:build !fault_frame_reused

package proxy

import "google.golang.org/grpc/mem"

// own makes a copy of data, whose buffers gRPC uses again.
func (f *Frame) own(data mem.BufferSlice) {
	n := data.Len()
	*f = make(Frame, n, n+frameSlack)
	data.CopyTo(*f)
}
