//go:build !fault_answer_early

package proxy

import "google.golang.org/grpc/mem"

// hand makes b gRPC's, which gives it back to t.
func (t *transit) hand(b *[]byte) mem.Buffer {
	t.handed.Add(1)
	return mem.NewBuffer(b, t)
}
