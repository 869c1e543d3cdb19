package bench

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The plots are plain SVG, made by hand: bars and curves are all there is, and a plotting library would be linked into every
// sidecar.
const (
	plotWidth  = 760
	plotLeft   = 150 // of bars, for their names
	barHeight  = 22
	curveTop   = 40
	curveLow   = 300
	curveLeft  = 70
	curveRight = 560 // behind it stand the names
)

// colours of subjects and curves, in order; readable on white, and told apart by those who see colours differently.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#a6761d", "#1b1b1b"}

type svg struct{ strings.Builder }

func (s *svg) print(format string, args ...any) { _, _ = fmt.Fprintf(s, format, args...) } // a Builder never fails

func newSVG(height int) *svg {
	var s svg
	s.print(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		plotWidth, height)
	s.print(`<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, height)
	return &s
}

func (s *svg) text(x, y float64, anchor, colour, text string) {
	s.print(`<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, anchor, colour, html.EscapeString(text))
}

func (s *svg) line(x1, y1, x2, y2 float64, colour string) {
	s.print(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, colour)
}

func (s *svg) end() string {
	s.print("</svg>\n")
	return s.String()
}

// curve is one line of a plot.
type curve struct {
	name   string
	points [][2]float64 // x, y
}

// axis turns values into places on a plot.
type axis struct {
	low, high float64 // values at its ends
	from, to  float64 // places of these
	log       bool
	ticks     []float64
	text      func(float64) string
}

func (a *axis) place(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(math.Max(v, a.low))
	}
	if high == low {
		return a.from
	}
	return a.from + (a.to-a.from)*(v-low)/(high-low)
}

// decades is a logarithmic axis over the values, with a tick at each power of ten.
func decades(low, high, from, to float64, text func(float64) string) axis {
	low, high = math.Pow10(int(math.Floor(math.Log10(low)))), math.Pow10(int(math.Ceil(math.Log10(high))))
	if low == high {
		high *= 10
	}
	a := axis{low: low, high: high, from: from, to: to, log: true, text: text}
	for v := low; v <= high*1.001; v *= 10 {
		a.ticks = append(a.ticks, v)
	}
	return a
}

// fromZero is a linear axis that begins at 0.
func fromZero(high, from, to float64, text func(float64) string) axis {
	step := math.Pow10(int(math.Floor(math.Log10(math.Max(high, 1e-9)))))
	if high/step < 2 {
		step /= 5
	} else if high/step < 5 {
		step /= 2
	}
	a := axis{high: step * math.Ceil(high/step), from: from, to: to, text: text}
	for v := 0.0; v <= a.high*1.001; v += step {
		a.ticks = append(a.ticks, v)
	}
	return a
}

// plotCurves draws curves over two axes.
func plotCurves(title, below string, x, y axis, curves []curve) string {
	s := newSVG(curveLow + 50)
	s.text(curveLeft, 20, "start", "black", title)
	for _, v := range y.ticks {
		s.line(curveLeft, y.place(v), curveRight, y.place(v), "#dddddd")
		s.text(curveLeft-6, y.place(v)+4, "end", "#333333", y.text(v))
	}
	for _, v := range x.ticks {
		s.line(x.place(v), curveTop, x.place(v), curveLow, "#dddddd")
		s.text(x.place(v), curveLow+16, "middle", "#333333", x.text(v))
	}
	s.text((curveLeft+curveRight)/2, curveLow+38, "middle", "#333333", below)
	for i, c := range curves {
		colour := colours[i%len(colours)]
		var path strings.Builder
		for _, p := range c.points {
			_, _ = fmt.Fprintf(&path, "%.1f,%.1f ", x.place(p[0]), y.place(p[1]))
			s.print(`<circle cx="%.1f" cy="%.1f" r="2" fill="%s"/>`+"\n", x.place(p[0]), y.place(p[1]), colour)
		}
		s.print(`<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.TrimSpace(path.String()), colour)
		s.text(curveRight+12, float64(curveTop+12+18*i), "start", colour, c.name)
	}
	return s.end()
}

// PlotLatencies draws the distribution of each subject's latencies.
func (s *Series) PlotLatencies() string {
	low, high := math.Inf(1), 0.0
	var curves []curve
	for i := range s.Figures {
		f := &s.Figures[i]
		c := curve{name: string(f.Subject)}
		for _, p := range f.Distribution {
			low, high = math.Min(low, p.Seconds), math.Max(high, p.Seconds)
			c.points = append(c.points, [2]float64{1 / (1 - p.Percent/100), p.Seconds})
		}
		if len(c.points) > 0 {
			curves = append(curves, c)
		}
	}
	if len(curves) == 0 {
		return newSVG(curveLow).end()
	}
	x := axis{low: 1, high: 1e5, from: curveLeft, to: curveRight, log: true, ticks: []float64{2, 10, 100, 1000, 1e4, 1e5}}
	x.text = func(v float64) string { return fmt.Sprintf("%.5g %%", 100-100/v) }
	y := decades(low, high, curveLow, curveTop, short)
	return plotCurves("time to the ack: "+s.Load.String(), "of all acks took at most so long", x, y, curves)
}

// PlotRates draws a bar for each subject's rate.
func (s *Series) PlotRates() string {
	g := newSVG(50 + barHeight*len(s.Figures))
	g.text(10, 20, "start", "black", "observations a second: "+s.Load.String())
	high := 1.0
	for i := range s.Figures {
		high = math.Max(high, s.Figures[i].Median.Rate)
	}
	for i := range s.Figures {
		f := &s.Figures[i]
		y, width := 36+barHeight*i, f.Median.Rate/high*(plotWidth-plotLeft-90)
		g.text(plotLeft-8, float64(y+13), "end", "black", string(f.Subject))
		g.print(`<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", plotLeft, y, width, barHeight-6, colours[i%len(colours)])
		g.text(plotLeft+width+6, float64(y+13), "start", "black", count(f.Median.Rate))
	}
	return g.end()
}

// Plot is one picture of rates and latencies.
func (s *Series) Plot() string {
	rates := 50 + barHeight*len(s.Figures)
	all := newSVG(rates + curveLow + 50)
	all.print("%s", s.PlotRates())
	all.print(`<svg y="%d" width="%d" height="%d">`+"\n%s</svg>\n", rates, plotWidth, curveLow+50, s.PlotLatencies())
	return all.end()
}
