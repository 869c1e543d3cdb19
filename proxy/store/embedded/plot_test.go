package embedded

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
)

// point is one size of a store with two latencies in milliseconds.
type point struct{ n, p50, p99 float64 }

// plot draws latency against size, both on logarithmic scales, as an SVG.
func plot(title string, points []point) []byte {
	const width, height, left, right, top, bottom = 720, 420, 70, 690, 50, 360
	first, last := points[0], points[len(points)-1]
	x0, x1 := math.Floor(math.Log10(first.n)), math.Ceil(math.Log10(last.n))
	y0, y1 := math.Inf(1), math.Inf(-1)
	for i := range points { // what was too short to be measured has no place on a logarithmic scale
		points[i].p50, points[i].p99 = max(points[i].p50, 0.001), max(points[i].p99, 0.001)
	}
	for _, p := range points {
		y0, y1 = min(y0, math.Floor(math.Log10(p.p50))), max(y1, math.Ceil(math.Log10(p.p99)))
	}
	x := func(n float64) float64 { return left + (math.Log10(n)-x0)/max(x1-x0, 1)*(right-left) }
	y := func(v float64) float64 { return bottom - (math.Log10(v)-y0)/max(y1-y0, 1)*(bottom-top) }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/><text x="%d" y="28" font-size="16">%s</text>`+"\n", width, height, left, title)
	for d := x0; d <= x1; d++ {
		at := x(math.Pow(10, d))
		fmt.Fprintf(&b, `<path d="M%.1f %d V%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", at, top, bottom, at, bottom+20, math.Pow(10, d))
	}
	for d := y0; d <= y1; d++ {
		at := y(math.Pow(10, d))
		fmt.Fprintf(&b, `<path d="M%d %.1f H%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g ms</text>`+"\n", left, at, right, left-8, at+4, math.Pow(10, d))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">memories in the space</text>`+"\n", (left+right)/2, bottom+45)
	for i, line := range []struct {
		name, colour string
		of           func(point) float64
	}{{"p50", "#1f6feb", func(p point) float64 { return p.p50 }}, {"p99", "#d1242f", func(p point) float64 { return p.p99 }}} {
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, line.colour)
		for _, p := range points {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(p.n), y(line.of(p)))
		}
		fmt.Fprintf(&b, `"/>`+"\n")
		for _, p := range points {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s of %.0f: %.1f ms</title></circle>`+"\n", x(p.n), y(line.of(p)), line.colour, line.name, p.n, line.of(p))
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", left+15, top+20+20*i, line.colour, line.name)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func TestPlotIsWellFormed(t *testing.T) {
	svg := plot("a plot", []point{{1000, 0, 0.9}, {100_000, 14, 31}})
	if !bytes.Contains(svg, []byte("p99 of 100000: 31.0 ms")) {
		t.Errorf("a point is missing:\n%s", svg)
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
