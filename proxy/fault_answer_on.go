//go:build fault_answer_early

package proxy

import "google.golang.org/grpc/mem"

// hand is broken on purpose in this build: b is free when gRPC has taken it, rather than when it has been written. The test
// of freed memory must find it out.
func (t *transit) hand(b *[]byte) mem.Buffer {
	text := *b
	freeAnswerBuffer(b)
	return mem.SliceBuffer(text)
}
