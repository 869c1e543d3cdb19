package observe

import (
	"math/bits"
	"time"
)

// latencies counts durations in buckets whose width is a sixteenth of their power of two, so that a percentile is right to
// about 6 % whatever the length of the run, in 8 KB.
type latencies struct {
	buckets [64 * 16]uint64
	count   uint64
}

func (l *latencies) add(d time.Duration) {
	l.buckets[bucketOf(max(d, 0))]++
	l.count++
}

// percentile returns the upper end of the bucket in which the p-th of 100 lies; 0 when nothing was counted.
func (l *latencies) percentile(p float64) time.Duration {
	want := uint64(p / 100 * float64(l.count))
	var seen uint64
	for i, n := range l.buckets {
		if seen += n; n > 0 && seen > want {
			return endOf(i)
		}
	}
	for i := len(l.buckets) - 1; i >= 0; i-- { // p is 100
		if l.buckets[i] > 0 {
			return endOf(i)
		}
	}
	return 0
}

// bucketOf numbers the buckets: 0 to 15 exactly, above by the highest bit and the four behind it.
func bucketOf(d time.Duration) int {
	if d < 16 {
		return int(d)
	}
	high := bits.Len64(uint64(d)) - 1
	return (high-3)*16 + int(d>>(high-4)&15)
}

// endOf is the largest value of a bucket.
func endOf(i int) time.Duration {
	if i < 16 {
		return time.Duration(i)
	}
	high := i/16 + 3
	return time.Duration(16+i%16+1)<<(high-4) - 1
}
