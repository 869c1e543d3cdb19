package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The histogram's range and its precision: 1 µs to 5 minutes, right to one in a hundred.
const (
	leastLatency = int64(time.Microsecond)
	mostLatency  = int64(5 * time.Minute)
	digits       = 2
)

// histogram is a share of the latencies. Several streams may have one together.
type histogram struct {
	mu  sync.Mutex
	hdr *hdrhistogram.Histogram
}

func newHistogram() *histogram { return &histogram{hdr: newHDR()} }

func newHDR() *hdrhistogram.Histogram { return hdrhistogram.New(leastLatency, mostLatency, digits) }

func (h *histogram) add(d time.Duration) {
	h.mu.Lock()
	_ = h.hdr.RecordValue(min(max(int64(d), leastLatency), mostLatency)) // which is in range
	h.mu.Unlock()
}

// merged is the histogram of all shares, encoded.
func merged(shares []*histogram) ([]byte, error) {
	all := newHDR()
	for _, h := range shares {
		h.mu.Lock()
		all.Merge(h.hdr)
		h.mu.Unlock()
	}
	return all.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// Latency is a distribution of latencies in seconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	at := func(p float64) float64 { return time.Duration(h.ValueAtQuantile(p)).Seconds() }
	return Latency{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: time.Duration(h.Max()).Seconds()}
}

// percents are those that a distribution tells of. Each further nine is as wide as the one before.
var percents = []float64{0, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999}

// distribution is the part of a histogram that its counts bear out.
func distribution(h *hdrhistogram.Histogram) []Percentile {
	var out []Percentile
	for _, p := range percents {
		if n := float64(h.TotalCount()); n > 0 && (1-p/100)*n >= 1 {
			out = append(out, Percentile{Percent: p, Seconds: time.Duration(h.ValueAtQuantile(p)).Seconds()})
		}
	}
	return out
}
