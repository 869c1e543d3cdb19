package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Options say what is measured.
type Options struct {
	Load     Load
	Subjects []Subject
	Runs     int    // of each subject, turn by turn
	Batch    int    // records a batch, of subjects without a client
	Dir      string // on the disk that is to be measured; "" is the directory for temporary files
	Profile  bool   // find out which share of a core the sidecar's handlers take
	Backlog  uint64 // observations that a sidecar has already, and whose store is away

	// Progress is told how much of all there is to do is done, and what is at work. It may be nil.
	Progress func(done, all time.Duration, what string)
}

// DefaultRuns is how often each subject has its turn.
const DefaultRuns = 3

// DefaultBatch is how many records a subject without a client takes at a time.
const DefaultBatch = 128

// Validate refuses what cannot work, in the words of the flags.
func (o *Options) Validate() error {
	if err := o.Load.Validate(); err != nil {
		return err
	}
	switch {
	case o.Runs < 1 || o.Runs > 1000:
		return fmt.Errorf("--runs: expected 1 to 1000, got %d", o.Runs)
	case o.Batch < 1 || o.Batch > 10_000:
		return fmt.Errorf("--batch: expected 1 to 10000, got %d", o.Batch)
	case len(o.Subjects) == 0:
		return errors.New("bench: nothing to measure")
	}
	return nil
}

// Series is what all subjects did in all turns.
type Series struct {
	Load    Load     `json:"load"`
	Batch   int      `json:"batch"`
	Machine Machine  `json:"machine"`
	Figures []Figure `json:"figures"`
	Runs    [][]Run  `json:"runs"` // by turn, then by subject
}

// Figure sums up a subject: medians over its turns, and the merged distribution of latencies.
type Figure struct {
	Subject Subject             `json:"subject"`
	Median  Run                 `json:"median"`
	Ratio   map[Subject]float64 `json:"ratio"`   // of the rate to that of another subject in the same turn, the median
	Tail    map[Subject]float64 `json:"tail"`    // the same of the 99th percentile of latencies
	Typical map[Subject]float64 `json:"typical"` // the same of the 50th

	Distribution []Percentile            `json:"distribution"`
	Histogram    *hdrhistogram.Histogram `json:"-"`
}

// Percentile says how long the fastest so many percent of all acks took at most.
type Percentile struct {
	Percent float64 `json:"percent"`
	Seconds float64 `json:"seconds"`
}

// Measure measures each subject, turn by turn, so that what befalls the machine befalls all of them.
func Measure(ctx context.Context, o Options) (*Series, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "engram-sidecar-bench-")
	if err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left has a telling name
	one := o.Load.Warmup + o.Load.Duration
	all := time.Duration(o.Runs*len(o.Subjects)) * one
	done := time.Duration(0)
	b := &bench{dir: dir, tell: func(since time.Duration, what string) {
		if o.Progress != nil {
			o.Progress(done+o.Load.Warmup+since, all, what)
		}
	}}
	series := &Series{Load: o.Load, Batch: o.Batch, Machine: thisMachine(dir)}
	for range o.Runs {
		var runs []Run
		for _, s := range o.Subjects {
			b.tell(-o.Load.Warmup, string(s))
			r, err := b.turn(ctx, s, &o)
			if err != nil {
				return nil, err
			}
			runs = append(runs, r)
			done += one
		}
		series.Runs = append(series.Runs, runs)
	}
	series.sum(o.Subjects)
	return series, nil
}

// sum makes the figures.
func (s *Series) sum(subjects []Subject) {
	for i, subject := range subjects {
		column := make([]Run, len(s.Runs))
		for turn := range s.Runs {
			column[turn] = s.Runs[turn][i]
		}
		f := Figure{
			Subject: subject, Median: medianRun(column), Histogram: newHDR(),
			Ratio: map[Subject]float64{}, Tail: map[Subject]float64{}, Typical: map[Subject]float64{},
		}
		for _, r := range column {
			if r.histogram != nil {
				f.Histogram.Merge(r.histogram)
			}
		}
		f.Distribution = distribution(f.Histogram)
		for j, other := range subjects {
			if i == j {
				continue
			}
			f.Ratio[other] = s.ratio(i, j, func(r *Run) float64 { return r.Rate })
			f.Tail[other] = s.ratio(i, j, func(r *Run) float64 { return r.Latency.P99 })
			f.Typical[other] = s.ratio(i, j, func(r *Run) float64 { return r.Latency.P50 })
		}
		s.Figures = append(s.Figures, f)
	}
	slices.SortStableFunc(s.Figures, func(a, b Figure) int { return a.Subject.place() - b.Subject.place() })
}

// ratio is the median of what two subjects did, divided within each turn.
func (s *Series) ratio(i, j int, of func(*Run) float64) float64 {
	ratios := make([]float64, 0, len(s.Runs))
	for turn := range s.Runs {
		if d := of(&s.Runs[turn][j]); d > 0 {
			ratios = append(ratios, of(&s.Runs[turn][i])/d)
		}
	}
	return median(ratios)
}

// Figure is that of a subject, nil where it was not measured.
func (s *Series) Figure(subject Subject) *Figure {
	for i := range s.Figures {
		if s.Figures[i].Subject == subject {
			return &s.Figures[i]
		}
	}
	return nil
}

// medianRun has the median of each figure.
func medianRun(runs []Run) Run {
	of := func(get func(*Run) float64) float64 {
		values := make([]float64, len(runs))
		for i := range runs {
			values[i] = get(&runs[i])
		}
		return median(values)
	}
	return Run{
		Subject: runs[0].Subject,
		Acked:   uint64(of(func(r *Run) float64 { return float64(r.Acked) })),
		Rate:    of(func(r *Run) float64 { return r.Rate }),
		AckRate: of(func(r *Run) float64 { return r.AckRate }),
		Latency: Latency{
			P50:  of(func(r *Run) float64 { return r.Latency.P50 }),
			P90:  of(func(r *Run) float64 { return r.Latency.P90 }),
			P99:  of(func(r *Run) float64 { return r.Latency.P99 }),
			P999: of(func(r *Run) float64 { return r.Latency.P999 }),
			Max:  of(func(r *Run) float64 { return r.Latency.Max }),
		},
		ServerCPU: of(func(r *Run) float64 { return r.ServerCPU }),
		ClientCPU: of(func(r *Run) float64 { return r.ClientCPU }),
		Syscalls:  of(func(r *Run) float64 { return r.Syscalls }),
		Written:   of(func(r *Run) float64 { return r.Written }),
		Handlers:  of(func(r *Run) float64 { return r.Handlers }),
		PeakRSS:   uint64(of(func(r *Run) float64 { return float64(r.PeakRSS) })),
	}
}

// median is the middle one, or the mean of the two in the middle; 0 of none.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return values[n/2]
	default:
		return (values[n/2-1] + values[n/2]) / 2
	}
}
