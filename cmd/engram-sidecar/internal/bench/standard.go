package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Scale is how long the standard set takes.
type Scale struct {
	Runs    int           // of each series
	Short   time.Duration // each run of a series
	Long    time.Duration // each run all the way into a store
	Kept    time.Duration // each run at a rate that is to be kept up
	Curve   time.Duration // each run of a curve
	Backlog uint64        // observations that wait, where that matters
	Streams []int         // of the curve over streams
}

// The two scales. The quick one is for a look, and for tests; its figures are not worth much.
var (
	FullScale = Scale{
		Runs: 5, Short: 5 * time.Second, Long: time.Minute, Kept: time.Minute, Curve: 3 * time.Second, Backlog: 1_000_000,
		Streams: []int{1, 8, 64, 512, 2000},
	}
	QuickScale = Scale{
		Runs: 1, Short: 500 * time.Millisecond, Long: time.Second, Kept: time.Second, Curve: 300 * time.Millisecond, Backlog: 5000,
		Streams: []int{1, 8, 64},
	}
)

// scenario is one series of the standard set.
type scenario struct {
	name, title, why string
	options          Options
}

func load(streams, window int, d time.Duration) Load {
	l := DefaultLoad()
	l.Streams, l.Window, l.Duration, l.Warmup = streams, window, d, min(d/4, 2*time.Second)
	return l
}

func steady(rate float64, d time.Duration) Load {
	l := load(8, 512, d)
	l.Rate = rate
	return l
}

// steadyRate is the load that a sidecar must carry without being noticed, in observations a second.
const steadyRate = 10_000

// scenarios are the series of the standard set.
func (sc *Scale) scenarios() []scenario {
	with := func(l Load, subjects ...Subject) Options {
		return Options{Load: l, Subjects: subjects, Runs: sc.Runs, Batch: DefaultBatch}
	}
	kept := with(steady(steadyRate, sc.Kept), DurableEcho, Sidecar, ToEmbedded)
	kept.Profile = true
	return []scenario{
		{
			"burst-64", "Burst, windows of 64", "as fast as acks come, eight streams",
			with(load(8, 64, sc.Short), Echo, DurableEcho, Sidecar),
		},
		{
			"burst-512", "Burst, windows of 512", "the same with more in flight, so that each fsync covers more",
			with(load(8, 512, sc.Short), DurableEcho, Sidecar),
		},
		{
			"one-stream", "One stream, window 256", "one application with one session",
			with(load(1, 256, sc.Short), DurableEcho, Sidecar),
		},
		{
			"lone-writer", "A lone writer", "one observation at a time, each waits for its own fsync",
			with(load(1, 1, sc.Short), DurableEcho, Sidecar),
		},
		{
			"journal", "The journal alone", "batches of 128 without gRPC, each handed over while the one before is synced: what the journal adds to the file",
			with(load(1, 1, sc.Short), BareFile, JournalOnly),
		},
		{
			"steady", fmt.Sprintf("%s a second, kept up", count(steadyRate)), "each observation is due by the clock, so that a stall makes all behind it late",
			kept,
		},
		{
			"embedded", "All the way into the embedded store", "the rate is of what the store had in the end",
			with(load(8, 64, sc.Long), DurableEcho, ToEmbedded, Embedded),
		},
		{
			"engram", "All the way into an Engram-like store", "the same with a store behind gRPC that takes whatever comes",
			with(load(8, 64, sc.Long), Engram, ToEngram),
		},
	}
}

// sweep is one curve of the standard set: a series for each value.
type sweep struct {
	name, title, axis string
	values            []float64
	options           func(v float64) Options
}

func (sc *Scale) sweeps() []sweep {
	with := func(l Load) Options {
		return Options{Load: l, Subjects: []Subject{DurableEcho, Sidecar}, Runs: 1, Batch: DefaultBatch}
	}
	streams := make([]float64, len(sc.Streams))
	for i, n := range sc.Streams {
		streams[i] = float64(n)
	}
	return []sweep{
		{"streams", "More streams", "streams, at most 8,192 observations in flight", streams, func(v float64) Options {
			return with(load(int(v), max(1, min(64, 8192/int(v))), sc.Curve))
		}},
		{"size", "Larger observations", "bytes of text beside the embedding", []float64{256, 1024, 4096, 16384, 65536}, func(v float64) Options {
			l := load(8, 64, sc.Curve)
			l.Size = int(v)
			return with(l)
		}},
		{"spaces", "More memory spaces", "spaces that the observations go to in turn", []float64{1, 4, 16, 64, 256}, func(v float64) Options {
			l := load(8, 64, sc.Curve)
			l.Spaces = int(v)
			return with(l)
		}},
		{"backlog", "A growing backlog", "observations that wait for the store already", sc.backlogs(), func(v float64) Options {
			o := with(load(8, 64, sc.Curve))
			o.Backlog = uint64(v)
			return o
		}},
	}
}

func (sc *Scale) backlogs() []float64 {
	all := float64(sc.Backlog)
	return []float64{0, all / 100, all / 10, all}
}

// Result is one series of a report.
type Result struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	Why    string  `json:"why"`
	Series *Series `json:"series"`
}

// Curve is one curve of a report.
type Curve struct {
	Name   string    `json:"name"`
	Title  string    `json:"title"`
	Axis   string    `json:"axis"`
	Values []float64 `json:"values"`
	Series []*Series `json:"series"` // one for each value
}

// Report is everything that the standard set measured.
type Report struct {
	Scale     Scale      `json:"scale"`
	Machine   Machine    `json:"machine"`
	Version   string     `json:"version"`
	Results   []Result   `json:"results"`
	Curves    []Curve    `json:"curves"`
	Footprint *Footprint `json:"footprint"`
}

// footprintName is what the footprint is called among the names of series and curves.
const footprintName = "footprint"

// Names are what Standard can measure, in its order.
func Names() []string {
	var names []string
	for _, s := range FullScale.scenarios() {
		names = append(names, s.name)
	}
	for _, s := range FullScale.sweeps() {
		names = append(names, s.name)
	}
	return append(names, footprintName)
}

// Standard measures the standard set, or of it what only names.
func Standard(ctx context.Context, sc Scale, only []string, dir string, progress func(done, all time.Duration, what string)) (*Report, error) {
	leftOut := func(name string) bool { return len(only) > 0 && !slices.Contains(only, name) }
	r := &Report{Scale: sc, Machine: thisMachine(dir)}
	scenarios := slices.DeleteFunc(sc.scenarios(), func(s scenario) bool { return leftOut(s.name) })
	sweeps := slices.DeleteFunc(sc.sweeps(), func(s sweep) bool { return leftOut(s.name) })
	var all, done time.Duration
	for _, s := range scenarios {
		all += s.options.takes()
	}
	for _, s := range sweeps {
		for _, v := range s.values {
			o := s.options(v)
			all += o.takes()
		}
	}
	measure := func(name string, o Options) (*Series, error) {
		o.Dir = dir
		o.Progress = func(d, _ time.Duration, what string) { progress(done+d, all, name+": "+what) }
		series, err := Measure(ctx, o)
		done += o.takes()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return series, nil
	}
	for _, s := range scenarios {
		series, err := measure(s.name, s.options)
		if err != nil {
			return nil, err
		}
		r.Results = append(r.Results, Result{s.name, s.title, s.why, series})
		r.Machine = series.Machine
	}
	for _, s := range sweeps {
		c := Curve{Name: s.name, Title: s.title, Axis: s.axis, Values: s.values}
		for _, v := range s.values {
			series, err := measure(fmt.Sprintf("%s %s", s.name, count(v)), s.options(v))
			if err != nil {
				return nil, err
			}
			c.Series = append(c.Series, series)
		}
		r.Curves = append(r.Curves, c)
	}
	if leftOut(footprintName) {
		return r, nil
	}
	progress(done, all, footprintName)
	var err error
	r.Footprint, err = measureFootprint(ctx, dir, sc.Streams[len(sc.Streams)-1], sc.Backlog)
	return r, err
}

// takes is how long a series takes, at least.
func (o *Options) takes() time.Duration {
	return time.Duration(o.Runs*len(o.Subjects)) * (o.Load.Warmup + o.Load.Duration)
}

// result is a series of the report by its name, nil where there is none.
func (r *Report) result(name string) *Series {
	for i := range r.Results {
		if r.Results[i].Name == name {
			return r.Results[i].Series
		}
	}
	return nil
}
