package admin

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// namespace begins every metric's name.
const namespace = "engram_sidecar"

// Reasons are the labels of engram_sidecar_refused_total. Whatever else is reported counts as "other", so that no client
// can make labels.
var Reasons = []string{"sequence", "invalid", "paused", "overloaded", "too_large", "session", "unavailable", "denied", "other"}

// Metrics holds what is counted as it happens, and cannot be read from a Status afterwards. Its methods are safe for
// concurrent use and do not allocate: they stand on the way of an ack.
type Metrics struct {
	registry *prometheus.Registry
	ack      prometheus.Histogram
	fsync    prometheus.Histogram
	batch    prometheus.Histogram
	acked    atomic.Uint64
	refused  []atomic.Uint64 // by place in Reasons
}

// NewMetrics makes the metrics with a registry of their own, which holds the Go runtime's and the process's too.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		ack: histogram("ack_latency_seconds", "From arrival to the handing over of the ack, of the slowest among those handed over together.",
			latencies()),
		fsync: histogram("journal_fsync_seconds", "Time of one group commit's write and fsync.",
			latencies()),
		batch: histogram("journal_batch_records", "Records that shared one fsync.",
			prometheus.ExponentialBuckets(1, 2, 12)),
		refused: make([]atomic.Uint64, len(Reasons)),
	}
	m.registry.MustRegister(m.ack, m.fsync, m.batch, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// latencies are the bounds of buckets for times, from 50 microseconds to 10 seconds, six in each power of ten: what is read
// off them is never wrong by more than half, and mostly far less.
func latencies() []float64 {
	var bounds []float64
	for decade := 1; decade <= 1_000_000; decade *= 10 { // microseconds
		for _, b := range []int{10, 15, 20, 30, 50, 70} {
			if micros := b * decade; micros >= 50 && micros <= 10_000_000 {
				bounds = append(bounds, float64(micros)/1e6)
			}
		}
	}
	return bounds
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
	})
}

// Acked counts n acks and the latency of the slowest of them.
func (m *Metrics) Acked(n int, latency time.Duration) {
	m.acked.Add(uint64(n)) //nolint:gosec // a count
	m.ack.Observe(latency.Seconds())
}

// Committed counts one group commit of n records that took d.
func (m *Metrics) Committed(n int, d time.Duration) {
	m.fsync.Observe(d.Seconds())
	m.batch.Observe(float64(n))
}

// Refused counts one refusal. A reason that is not of Reasons counts as "other".
func (m *Metrics) Refused(reason string) {
	i := slices.Index(Reasons, reason)
	if i < 0 {
		i = len(Reasons) - 1
	}
	m.refused[i].Add(1)
}

// AckedTotal returns how many acks were counted since the start.
func (m *Metrics) AckedTotal() uint64 { return m.acked.Load() }

// RefusedTotals returns the refusals by reason since the start, every reason present.
func (m *Metrics) RefusedTotals() map[string]uint64 {
	totals := make(map[string]uint64, len(Reasons))
	for i, reason := range Reasons {
		totals[reason] = m.refused[i].Load()
	}
	return totals
}
