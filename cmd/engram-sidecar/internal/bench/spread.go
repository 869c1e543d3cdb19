package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longestBar is how many characters the largest share takes.
const longestBar = 30

// ranges are the upper ends of those that latencies are counted in, in nanoseconds: 1, 2 and 5 of each power of ten.
func ranges() (ends []int64) {
	for unit := leastLatency; unit <= mostLatency; unit *= 10 {
		ends = append(ends, unit, 2*unit, 5*unit)
	}
	return ends
}

// shares is which part of a histogram lies in each range.
func shares(h *hdrhistogram.Histogram, ends []int64) []float64 {
	out := make([]float64, len(ends))
	for _, bar := range h.Distribution() {
		if bar.Count > 0 {
			i, _ := slices.BinarySearch(ends, bar.From)
			out[i] += float64(bar.Count) / float64(h.TotalCount())
		}
	}
	return out
}

// spread shows the histograms side by side, with bars for the sidecar's, or without one the first; "" where nothing was
// measured.
func (s *Series) spread() string {
	ends := ranges()
	var columns [][]float64
	heads, drawn := []string{"took at most"}, 0
	for i := range s.Figures {
		f := &s.Figures[i]
		if f.Histogram.TotalCount() == 0 {
			continue
		}
		if f.Subject.isSidecar() {
			drawn = len(columns)
		}
		columns, heads = append(columns, shares(f.Histogram, ends)), append(heads, string(f.Subject))
	}
	if len(columns) == 0 {
		return ""
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, strings.Join(heads, "\t")+"\t") // a Builder never fails
	largest := slices.Max(columns[drawn])
	from, to := span(columns)
	for i := from; i <= to; i++ {
		cells := []string{time.Duration(ends[i]).String()}
		for _, c := range columns {
			cells = append(cells, percent(c[i]))
		}
		bar := ""
		if share := columns[drawn][i]; share > 0 {
			bar = strings.Repeat("█", max(1, int(math.Round(longestBar*share/largest))))
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t")+"\t  "+bar, " ")) // as above
	}
	_ = w.Flush() // as above
	return b.String()
}

// span is the first and the last range that anything lies in.
func span(columns [][]float64) (from, to int) {
	from = len(columns[0])
	for _, c := range columns {
		for i, share := range c {
			if share > 0 {
				from, to = min(from, i), max(to, i)
			}
		}
	}
	return from, to
}

// percent writes a share so that what is little is told from nothing.
func percent(share float64) string {
	switch {
	case share == 0:
		return "–"
	case share < 0.001:
		return fmt.Sprintf("%.3f %%", 100*share)
	default:
		return fmt.Sprintf("%.1f %%", 100*share)
	}
}
