package bench

import "fmt"

// goal is a figure that the sidecar is held to.
type goal struct {
	what       string
	least, aim string
	measured   func(*Report) (value float64, text string) // 0 for not measured
	bound      float64                                    // of least
	below      bool                                       // the value must not be above bound, rather than not below
}

// goals are the figures that the sidecar is held to. What is measured is always a ratio within one turn, where it can be.
var goals = []goal{
	rateGoal("burst, 8 × window 64 ÷ durable echo", 0.70, "0.95", "burst-64", Sidecar, DurableEcho),
	rateGoal("burst, 8 × window 512 ÷ durable echo", 0.70, "0.95", "burst-512", Sidecar, DurableEcho),
	rateGoal("one stream, window 256 ÷ durable echo", 0.80, "1.0", "one-stream", Sidecar, DurableEcho),
	rateGoal("journal alone, 128 a batch ÷ bare append + fsync", 0.75, "0.95", "journal", JournalOnly, BareFile),
	rateGoal("all the way into the embedded store ÷ durable echo", 0.35, "0.7", "embedded", ToEmbedded, DurableEcho),
	rateGoal("all the way into an Engram-like store ÷ straight to it", 0.50, "0.8", "engram", ToEngram, Engram),
	{
		what: "10,000/s: 99th percentile of acks ÷ durable echo's", least: "2", aim: "1.2", bound: 2, below: true,
		measured: func(r *Report) (float64, string) {
			return of(r.result("steady"), Sidecar, func(f *Figure) float64 { return f.Tail[DurableEcho] }, ratio)
		},
	},
	{
		what: "10,000/s: 50th percentile of acks", least: "5ms", aim: "", bound: 5e-3, below: true,
		measured: func(r *Report) (float64, string) {
			return of(r.result("steady"), Sidecar, func(f *Figure) float64 { return f.Median.Latency.P50 }, short)
		},
	},
	{
		what: "10,000/s: 99th percentile of acks", least: "10ms", aim: "", bound: 10e-3, below: true,
		measured: func(r *Report) (float64, string) {
			return of(r.result("steady"), Sidecar, func(f *Figure) float64 { return f.Median.Latency.P99 }, short)
		},
	},
	{
		what: "10,000/s: handlers' processor time, of one core", least: "5 %", aim: "2 %", bound: 0.05, below: true,
		measured: func(r *Report) (float64, string) {
			return of(r.result("steady"), Sidecar, func(f *Figure) float64 { return f.Median.Handlers }, func(v float64) string {
				return fmt.Sprintf("%.1f %%", 100*v)
			})
		},
	},
	{
		what: "lone writer: 50th percentile ÷ durable echo's", least: "1.25", aim: "1.05", bound: 1.25, below: true,
		measured: func(r *Report) (float64, string) {
			return of(r.result("lone-writer"), Sidecar, func(f *Figure) float64 { return f.Typical[DurableEcho] }, ratio)
		},
	},
	{
		what: "512 streams ÷ 8 streams", least: "0.8", aim: "1.0", bound: 0.8,
		measured: func(r *Report) (float64, string) {
			few, many := r.point("streams", 8), r.point("streams", 512)
			if few == nil || many == nil {
				return 0, ""
			}
			v := many.Figure(Sidecar).Median.Rate / few.Figure(Sidecar).Median.Rate
			return v, ratio(v)
		},
	},
	{
		what: "start with a backlog ÷ reading its files", least: "2", aim: "1.2", bound: 2, below: true,
		measured: func(r *Report) (float64, string) {
			if r.Footprint == nil {
				return 0, ""
			}
			v := r.Footprint.Start / r.Footprint.Read
			return v, fmt.Sprintf("%.2f (%s of %s)", v, short(r.Footprint.Start), count(float64(r.Footprint.Backlog)))
		},
	},
	memoryGoal("memory, idle", 64<<20, 40<<20, func(f *Footprint) uint64 { return f.Idle }),
	memoryGoal("memory with the backlog", 256<<20, 128<<20, func(f *Footprint) uint64 { return f.Waiting }),
	memoryGoal("memory of each open session", 64<<10, 24<<10, func(f *Footprint) uint64 { return f.Session }),
}

func rateGoal(what string, least float64, aim, result string, s, of Subject) goal {
	return goal{
		what: what, least: fmt.Sprintf("%.2f", least), aim: aim, bound: least,
		measured: func(r *Report) (float64, string) {
			series := r.result(result)
			if series == nil || series.Figure(s) == nil {
				return 0, ""
			}
			v := series.Figure(s).Ratio[of]
			return v, ratio(v)
		},
	}
}

func memoryGoal(what string, least, aim uint64, get func(*Footprint) uint64) goal {
	return goal{
		what: what, least: size(float64(least)), aim: size(float64(aim)), bound: float64(least), below: true,
		measured: func(r *Report) (float64, string) {
			if r.Footprint == nil {
				return 0, ""
			}
			v := float64(get(r.Footprint))
			return v, size(v)
		},
	}
}

// of is a figure of a subject, and how it is written.
func of(s *Series, subject Subject, get func(*Figure) float64, write func(float64) string) (float64, string) {
	if s == nil || s.Figure(subject) == nil {
		return 0, ""
	}
	v := get(s.Figure(subject))
	return v, write(v)
}

// met says whether a figure is as it should be.
func (g *goal) met(v float64) bool {
	if g.below {
		return v <= g.bound
	}
	return v >= g.bound
}

// point is the series of a curve at a value, nil where there is none.
func (r *Report) point(curve string, value float64) *Series {
	for _, c := range r.Curves {
		for i, v := range c.Values {
			if c.Name == curve && v == value {
				return c.Series[i]
			}
		}
	}
	return nil
}
