package embedded

import (
	"fmt"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// episodes returns n records with ids that no other call gives, indexes from first on, and vectors by their indexes.
func episodes(first uint64, n int, vector func(index uint64) []float32) []wal.Record {
	records := make([]wal.Record, n)
	for i := range records {
		index := first + uint64(i)
		id := fmt.Sprintf("0190a3f2-%08x-%d", index*2654435761%(1<<32), index)
		records[i] = storetest.Record(wal.FormEpisode, index, "bench", id, "a line of some length that someone has observed", vector(index))
	}
	return records
}

var vectorPool [64][]float32

// vectorOf takes vectors out of a few and changes them a little: to make new ones takes longer than to store them.
func vectorOf(index uint64) []float32 {
	v := &vectorPool[index%uint64(len(vectorPool))]
	if *v == nil {
		*v = storetest.Vector(index)
	}
	(*v)[index%store.Dimensions] += 0.5
	return *v
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1, 64, 256, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			s, err := Open(b.TempDir(), Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			next := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				batch := episodes(next, size, vectorOf)
				next += uint64(size)
				b.StartTimer()
				for _, err := range s.Put(b.Context(), batch) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "items/s")
		})
	}
}
