package buffers

import (
	"testing"

	"google.golang.org/grpc/mem"
)

// BenchmarkPool is one frame's buffer, of an observation, from this pool and from gRPC's own.
func BenchmarkPool(b *testing.B) {
	for name, pool := range map[string]mem.BufferPool{"ours": new(Pool), "grpc": mem.DefaultBufferPool()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				pool.Put(pool.Get(3300))
			}
		})
	}
}
