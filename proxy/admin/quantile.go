package admin

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// buckets is a histogram as it stood at one time: how many observations were at most each bound, and how many there were.
type buckets struct {
	bounds []float64
	counts []uint64
	total  uint64
}

func bucketsOf(h prometheus.Metric) buckets {
	var m dto.Metric
	if err := h.Write(&m); err != nil { // a histogram of our own making always can
		return buckets{}
	}
	b := buckets{total: m.GetHistogram().GetSampleCount()}
	for _, bucket := range m.GetHistogram().GetBucket() {
		b.bounds = append(b.bounds, bucket.GetUpperBound())
		b.counts = append(b.counts, bucket.GetCumulativeCount())
	}
	return b
}

// since is what came between before and b.
func (b buckets) since(before buckets) buckets {
	out := buckets{bounds: b.bounds, counts: make([]uint64, len(b.counts)), total: b.total - before.total}
	copy(out.counts, b.counts)
	for i := range before.counts {
		out.counts[i] -= before.counts[i]
	}
	return out
}

// quantile estimates as Prometheus' histogram_quantile does: evenly within a bucket, and the last bound for what is above it.
// It is nil where nothing was observed.
func (b buckets) quantile(q float64) *float64 {
	if b.total == 0 || len(b.bounds) == 0 {
		return nil
	}
	rank := q * float64(b.total)
	lower, below := 0.0, uint64(0)
	for i, bound := range b.bounds {
		if float64(b.counts[i]) >= rank && b.counts[i] > below {
			value := lower + (bound-lower)*(rank-float64(below))/float64(b.counts[i]-below)
			return &value
		}
		lower, below = bound, b.counts[i]
	}
	last := b.bounds[len(b.bounds)-1]
	return &last
}
