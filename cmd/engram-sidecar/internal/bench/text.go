package bench

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// count writes a number of things: 12,345.
func count(n float64) string {
	digits := fmt.Sprintf("%.0f", n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// size writes bytes: 3.2 KiB.
func size(bytes float64) string {
	const step = 1024
	unit := 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for bytes >= step && unit < len(units)-1 {
		bytes /= step
		unit++
	}
	if unit == 0 || bytes >= 100 {
		return fmt.Sprintf("%.0f %s", bytes, units[unit])
	}
	return fmt.Sprintf("%.1f %s", bytes, units[unit])
}

// short writes seconds with three digits: 1.23ms.
func short(seconds float64) string {
	if seconds <= 0 {
		return "–"
	}
	d := time.Duration(seconds * float64(time.Second))
	unit := time.Duration(math.Pow10(int(math.Floor(math.Log10(float64(d)))) - 2))
	return d.Round(max(unit, 1)).String()
}

// micros writes seconds as microseconds.
func micros(seconds float64) string {
	if seconds <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f µs", seconds*1e6)
}

func ratio(r float64) string {
	if r == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", r)
}

// row is one line of the table, the same on a terminal and in a document.
func (f *Figure) row(reference Subject) []string {
	m := &f.Median
	against := "–"
	switch {
	case f.Subject == reference:
		against = "1"
	case reference != "":
		against = ratio(f.Ratio[reference])
	}
	rss, written := "–", "–"
	if m.PeakRSS > 0 {
		rss = size(float64(m.PeakRSS))
	}
	if m.Written > 0 {
		written = size(m.Written)
	}
	return []string{
		string(f.Subject), count(m.Rate), against, short(m.Latency.P50), short(m.Latency.P99), short(m.Latency.P999),
		short(m.Latency.Max), micros(m.ServerCPU), micros(m.ClientCPU), fmt.Sprintf("%.2f", m.Syscalls), written, rss,
	}
}

// header are the columns of row.
func header(reference Subject) []string {
	against := "ratio"
	if reference != "" {
		against = "÷ " + string(reference)
	}
	return []string{
		"", "a second", against, "p50", "p99", "p99.9", "max", "server CPU", "client CPU", "reads+writes", "to disk", "peak RSS",
	}
}

// reference is the subject that all are compared with: the durable echo, or else the first of several.
func (s *Series) reference() Subject {
	switch {
	case s.Figure(DurableEcho) != nil:
		return DurableEcho
	case len(s.Figures) > 1:
		return s.Figures[0].Subject
	default:
		return ""
	}
}

// String shows the series on a terminal.
func (s *Series) String() string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%s, %v each; medians of %d\n%s\n\n", s.Load.String(), s.Load.Duration, len(s.Runs), s.Machine)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	lines := [][]string{header(s.reference())}
	for i := range s.Figures {
		lines = append(lines, s.Figures[i].row(s.reference()))
	}
	for _, cells := range lines {
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t")+"\t") // a Builder never fails
	}
	_ = w.Flush() // as above
	if spread := s.spread(); spread != "" {
		b.WriteString("\n" + spread)
	}
	b.WriteString("\nCPU, reads+writes and bytes to disk are an observation's. ")
	b.WriteString("Latencies are an ack's, and a whole batch's where there is no client.\n")
	if s.Machine.Disk == inMemory {
		b.WriteString("This was measured in memory, where an fsync costs nothing: choose a directory on a disk with --dir.\n")
	}
	for i := range s.Figures {
		f := &s.Figures[i]
		if f.Subject.delivers() {
			_, _ = fmt.Fprintf(&b, "%s: %s acked a second; the rate is of what the store had in the end, over all the time that took.\n",
				f.Subject, count(f.Median.AckRate))
		}
	}
	return b.String()
}
