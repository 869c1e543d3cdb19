package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wellFormed fails where a picture is no XML.
func wellFormed(t *testing.T, name, picture string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(picture))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, picture)
		}
	}
}

// seriesOf makes a series without measuring: the sidecar at half the rate of the durable echo.
func seriesOf(subjects ...Subject) *Series {
	s := &Series{Load: quick(), Machine: Machine{CPU: "a <cpu> & more", When: time.Unix(0, 0)}}
	for turn := range 3 {
		var runs []Run
		for i, subject := range subjects {
			h := newHistogram()
			for n := range 5000 {
				h.add(time.Duration(n+1) * time.Microsecond)
			}
			rate := 100_000 / float64(i+1) * float64(turn+1) // the machine gets faster, for all of them
			runs = append(runs, Run{Subject: subject, Acked: 5000, Rate: rate, AckRate: rate, Latency: latencyOf(h.hdr), histogram: h.hdr})
		}
		s.Runs = append(s.Runs, runs)
	}
	s.sum(subjects)
	return s
}

func TestARatioIsOfOneTurn(t *testing.T) {
	s := seriesOf(DurableEcho, Sidecar)
	if r := s.Figure(Sidecar).Ratio[DurableEcho]; math.Abs(r-0.5) > 1e-9 {
		t.Errorf("the ratio is %g, want 0.5 in each turn", r)
	}
	if got := s.Figure(Sidecar).Median.Rate; got != 100_000 {
		t.Errorf("the median rate is %g", got)
	}
	if s.Figure(Engram) != nil {
		t.Error("there is a figure of what was not measured")
	}
}

// The store sent straight to is what the sidecar that delivers to it is compared with, in whatever order they took turns.
func TestWhatTheRatiosAreOf(t *testing.T) {
	for want, subjects := range map[Subject][]Subject{
		DurableEcho: {Sidecar, DurableEcho}, Engram: {ToEngram, Engram}, BareFile: {JournalOnly, BareFile}, "": {Sidecar},
	} {
		if got := seriesOf(subjects...).reference(); got != want {
			t.Errorf("%q is compared with %q, want %q", subjects, got, want)
		}
	}
}

func TestAReportIsWritten(t *testing.T) {
	series := seriesOf(DurableEcho, Sidecar)
	r := &Report{
		Machine: series.Machine, Version: "devel", Footprint: &Footprint{Idle: 50 << 20, Start: 1, Read: 1, Session: 1 << 20},
		Results: []Result{{"burst-64", "Burst", "why", series}, {"steady", "Steady", "why", series}},
		Curves:  []Curve{{"streams", "More streams", "streams", []float64{8, 512}, []*Series{series, series}}},
	}
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| burst, 8 × window 64 ÷ durable echo | ≥ 0.70 | 0.95 | 0.50 | **missed** |",
		"| 512 streams ÷ 8 streams | ≥ 0.8 | 1.0 | 1.00 | met |",
		"| one stream, window 256 ÷ durable echo | ≥ 0.80 | 1.0 | not measured |  |",
		"| memory, idle | ≤ 64.0 MiB | 40.0 MiB | 50.0 MiB | met |",
		"| memory of each open session | ≤ 64.0 KiB | 24.0 KiB | 1.0 MiB | **missed** |",
		"](performance/burst-64.svg)", "](performance/curve-streams.svg)", "100,000",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
	pictures, err := filepath.Glob(filepath.Join(filepath.Dir(path), "performance", "*.svg"))
	if err != nil || len(pictures) != 3 {
		t.Fatalf("pictures: %v, %v", pictures, err)
	}
	for _, p := range pictures {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, p, string(b))
	}
	if terminal := r.String(); !strings.Contains(terminal, "missed") || !strings.Contains(terminal, "not measured") {
		t.Errorf("on a terminal: %s", terminal)
	}
}

func TestTheStandardSetHoldsTogether(t *testing.T) {
	for _, sc := range []Scale{FullScale, QuickScale} {
		for _, s := range sc.scenarios() {
			if err := s.options.Validate(); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
		for _, s := range sc.sweeps() {
			for _, v := range s.values {
				o := s.options(v)
				if err := o.Validate(); err != nil {
					t.Errorf("%s %g: %v", s.name, v, err)
				}
			}
		}
	}
}

func TestFiguresAreWrittenForPeople(t *testing.T) {
	for _, tc := range [][2]string{
		{count(0), "0"},
		{count(999), "999"},
		{count(1000), "1,000"},
		{count(1234567), "1,234,567"},
		{size(5), "5 B"},
		{size(3200), "3.1 KiB"},
		{size(200 << 20), "200 MiB"},
		{short(0), "–"},
		{short(0.0012345), "1.23ms"},
		{short(12.3456), "12.3s"},
		{micros(1.23e-5), "12.3 µs"},
		{ratio(0), "–"},
		{ratio(0.951), "0.95"},
	} {
		if tc[0] != tc[1] {
			t.Errorf("got %q, want %q", tc[0], tc[1])
		}
	}
}
