package bench

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestSpreadOfLatencies(t *testing.T) {
	s := seriesOf(DurableEcho, Sidecar) // three turns of 1 to 5,000 µs, each as often as any other
	s.Figure(DurableEcho).Histogram.Reset()
	_ = s.Figure(DurableEcho).Histogram.RecordValues(int64(15*time.Millisecond), 1999)
	_ = s.Figure(DurableEcho).Histogram.RecordValues(int64(3*time.Second), 1)
	lines := strings.Split(strings.TrimSuffix(s.spread(), "\n"), "\n")
	for _, want := range [][]string{
		{"took at most", "durable echo", "sidecar"},
		{"500µs", "–", "6.0 %", "███"},
		{"1ms", "–", "10.0 %", "█████"},
		{"2ms", "–", "20.1 %", "██████████"},
		{"5ms", "–", "59.9 %", strings.Repeat("█", longestBar)},
		{"20ms", "100.0 %", "–"},
		{"5s", "0.050 %", "–"},
	} {
		if !hasLine(lines, want) {
			t.Errorf("no line of %q in\n%s", want, strings.Join(lines, "\n"))
		}
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, "5s") || strings.HasSuffix(last, " ") {
		t.Errorf("the last line is %q", last)
	}
	if !strings.Contains(s.String(), s.spread()) {
		t.Error("what bench prints does not show it")
	}
}

func hasLine(lines []string, cells []string) bool {
	for _, l := range lines {
		if strings.Join(strings.Fields(l), " ") == strings.Join(cells, " ") {
			return true
		}
	}
	return false
}

// Whatever was counted lies in one of the ranges.
func TestSharesAreOfAll(t *testing.T) {
	h := newHDR()
	for d := leastLatency; d < mostLatency; d = d*3/2 + 1 {
		_ = h.RecordValue(d)
	}
	_ = h.RecordValue(mostLatency)
	sum := 0.0
	for _, share := range shares(h, ranges()) {
		sum += share
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("the shares come to %g", sum)
	}
}

func TestNothingIsSpread(t *testing.T) {
	if got := (&Series{Figures: []Figure{{Subject: Sidecar, Histogram: newHDR()}}}).spread(); got != "" {
		t.Errorf("nothing was measured, and %q is shown", got)
	}
}
