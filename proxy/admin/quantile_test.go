package admin

import (
	"math"
	"testing"
	"time"
)

func TestQuantilesOfWhatCameBetween(t *testing.T) {
	m := NewMetrics()
	for range 100 {
		m.Acked(1, 5*time.Second) // before: not to be seen
	}
	before := bucketsOf(m.ack)
	for i := range 100 {
		m.Acked(1, time.Duration(i+1)*time.Millisecond)
	}
	now := bucketsOf(m.ack).since(before)
	if now.total != 100 {
		t.Fatalf("%d observations between, want 100", now.total)
	}
	for q, want := range map[float64]float64{0.5: 0.05, 0.99: 0.099, 1: 0.1} {
		got := now.quantile(q)
		if got == nil || math.Abs(*got-want) > want/2 {
			t.Errorf("quantile %v is %v, want %v within half of it", q, got, want)
		}
	}
}

func TestQuantileAsPrometheusEstimates(t *testing.T) {
	at := func(v float64) *float64 { return &v }
	b := buckets{bounds: []float64{1, 2, 4}, counts: []uint64{0, 10, 20}, total: 25}
	cases := []struct {
		name string
		b    buckets
		q    float64
		want *float64
	}{
		{"nothing was observed", buckets{bounds: b.bounds, counts: make([]uint64, 3)}, 0.5, nil},
		{"no histogram", buckets{}, 0.5, nil},
		{"in the middle of a bucket", b, 0.2, at(1.5)},
		{"at its end", b, 0.4, at(2)},
		{"in the next", b, 0.6, at(3)},
		{"above the last bound", b, 0.99, at(4)},
		{"all in the first", buckets{bounds: b.bounds, counts: []uint64{4, 4, 4}, total: 4}, 0.5, at(0.5)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := c.b.quantile(c.q)
			if (got == nil) != (c.want == nil) || got != nil && math.Abs(*got-*c.want) > 1e-9 {
				t.Errorf("quantile %v is %v, want %v", c.q, show(got), show(c.want))
			}
		})
	}
}

func show(v *float64) any {
	if v == nil {
		return "nothing"
	}
	return *v
}
