package bench

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// Write writes the report to a Markdown file, and its pictures into a folder of the same name beside it.
func (r *Report) Write(path string) error {
	folder := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	if err := os.MkdirAll(filepath.Join(filepath.Dir(path), folder), 0o755); err != nil { //nolint:gosec // documents are for everybody
		return fmt.Errorf("--write: %w", err)
	}
	text, pictures := r.markdown(folder)
	for name, picture := range pictures {
		if err := writeDocument(filepath.Join(filepath.Dir(path), folder, name), picture); err != nil {
			return err
		}
	}
	return writeDocument(path, text)
}

func writeDocument(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // documents are for everybody
		return fmt.Errorf("--write: %w", err)
	}
	return nil
}

// document is a Markdown text with its pictures.
type document struct {
	strings.Builder
	folder   string
	pictures map[string]string
}

func (d *document) print(format string, args ...any) { _, _ = fmt.Fprintf(d, format, args...) } // a Builder never fails

func (d *document) picture(name, alt, text string) {
	d.pictures[name] = text
	d.print("![%s](%s/%s)\n\n", alt, d.folder, name)
}

func (d *document) table(rows [][]string) {
	for i, row := range rows {
		d.print("| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			d.print("|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	d.print("\n")
}

const preface = `# Performance

Written by ` + "`make bench`" + `; do not edit. Every figure is from one run of it, on one machine: repeat it on yours.

%s, sidecar %s.

The client and each server are processes of their own on the same machine, over loopback, and share its cores. Subjects are
measured turn by turn, and a ratio is the median of what two of them did in the same turn: whatever else the machine did, it
did to both. Absolute figures stand beside.

`

func (r *Report) markdown(folder string) (string, map[string]string) {
	d := &document{folder: folder, pictures: map[string]string{}}
	d.print(preface, r.Machine, r.Version)
	r.writeGoals(d)
	d.print("## What is compared\n\n")
	rows := [][]string{{"subject", "what it is"}}
	for _, a := range about {
		rows = append(rows, []string{string(a.Subject), a.text})
	}
	d.table(rows)
	for i := range r.Results {
		r.Results[i].write(d)
	}
	for i := range r.Curves {
		r.Curves[i].write(d)
	}
	r.writeFootprint(d)
	d.print("## How to repeat it\n\n")
	d.print("```\nmake bench                 # all of this, about an hour\nmake bench BENCHFLAGS=--quick   # a look, in a minute or two\n")
	d.print("bin/engram-sidecar bench --baseline --streams 8 --window 64   # one load of your own: see bench --help\n```\n")
	return d.String(), d.pictures
}

func (r *Report) writeGoals(d *document) {
	d.print("## In short\n\n")
	rows := [][]string{{"figure", "wanted", "aim", "measured", ""}}
	for i := range goals {
		g := &goals[i]
		v, text := g.measured(r)
		if text == "" {
			rows = append(rows, []string{g.what, g.sign() + g.least, g.aim, "not measured", ""})
			continue
		}
		verdict := "**missed**"
		if g.met(v) {
			verdict = "met"
		}
		rows = append(rows, []string{g.what, g.sign() + g.least, g.aim, text, verdict})
	}
	d.table(rows)
}

// String tells on a terminal how the goals were met.
func (r *Report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for i := range goals {
		g := &goals[i]
		v, text := g.measured(r)
		verdict := "missed"
		switch {
		case text == "":
			text, verdict = "not measured", ""
		case g.met(v):
			verdict = "met"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s%s\t%s\t%s\n", g.what, g.sign(), g.least, text, verdict) // a Builder never fails
	}
	_ = w.Flush() // as above
	return b.String()
}

func (g *goal) sign() string {
	if g.below {
		return "≤ "
	}
	return "≥ "
}

func (x *Result) write(d *document) {
	s := x.Series
	d.print("## %s\n\n%s: %s; %v each, medians of %d.\n\n", x.Title, s.Load.String(), x.Why, s.Load.Duration, len(s.Runs))
	against := s.reference()
	rows := [][]string{header(against)}
	for i := range s.Figures {
		rows = append(rows, s.Figures[i].row(against))
	}
	d.table(rows)
	d.picture(x.Name+".svg", "rates and latencies: "+x.Title, s.Plot())
}

func (c *Curve) write(d *document) {
	d.print("## %s\n\n", c.Title)
	rows := [][]string{{c.Axis, "sidecar a second", "÷ durable echo", "p50", "p99", "server CPU", "MiB a second", "peak RSS"}}
	high := 0.0
	lines := []curve{{name: string(Sidecar)}, {name: string(DurableEcho)}}
	for i, s := range c.Series {
		f, e := s.Figure(Sidecar), s.Figure(DurableEcho)
		m := &f.Median
		rows = append(rows, []string{
			count(c.Values[i]), count(m.Rate), ratio(f.Ratio[DurableEcho]), short(m.Latency.P50), short(m.Latency.P99),
			micros(m.ServerCPU), fmt.Sprintf("%.0f", m.Rate*float64(s.Load.bytes())/(1<<20)), size(float64(m.PeakRSS)),
		})
		lines[0].points = append(lines[0].points, [2]float64{math.Max(c.Values[i], 1), m.Rate})
		lines[1].points = append(lines[1].points, [2]float64{math.Max(c.Values[i], 1), e.Median.Rate})
		high = math.Max(high, math.Max(m.Rate, e.Median.Rate))
	}
	d.table(rows)
	x := decades(math.Max(c.Values[0], 1), c.Values[len(c.Values)-1], curveLeft, curveRight, count)
	y := fromZero(high, curveLow, curveTop, count)
	d.picture("curve-"+c.Name+".svg", "rates over "+c.Axis, plotCurves("observations a second", c.Axis, x, y, lines))
}

func (r *Report) writeFootprint(d *document) {
	f := r.Footprint
	if f == nil {
		return
	}
	d.print("## Memory and starts\n\n")
	d.table([][]string{
		{"", ""},
		{"idle", size(float64(f.Idle))},
		{fmt.Sprintf("each of %s open sessions, with its stream", count(float64(f.Sessions))), size(float64(f.Session))},
		{fmt.Sprintf("after a start with %s observations waiting", count(float64(f.Backlog))), size(float64(f.Waiting))},
		{fmt.Sprintf("that start, until it serves; %s of journal", size(float64(f.Size))), short(f.Start)},
		{"reading the same files once", short(f.Read)},
	})
}
