package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// quick is a load that ends soon.
func quick() Load {
	l := DefaultLoad()
	l.Streams, l.Window, l.Warmup, l.Duration = 3, 8, 20*time.Millisecond, 150*time.Millisecond
	return l
}

func TestEverySubjectWithoutASidecarIsMeasured(t *testing.T) {
	o := Options{
		Load: quick(), Runs: 2, Batch: 16, Dir: t.TempDir(),
		Subjects: []Subject{Echo, DurableEcho, Engram, BareFile, JournalOnly, Embedded},
	}
	var told time.Duration
	o.Progress = func(done, _ time.Duration, _ string) { told = max(told, done) }
	s, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Figures) != len(o.Subjects) || len(s.Runs) != 2 {
		t.Fatalf("%d figures of %d turns", len(s.Figures), len(s.Runs))
	}
	for i := range s.Figures {
		f := &s.Figures[i]
		if m := &f.Median; m.Acked == 0 || m.Rate <= 0 || m.Latency.P50 <= 0 || m.Latency.P99 < m.Latency.P50 {
			t.Errorf("%s: %+v", f.Subject, f.Median)
		}
		if f.Subject != DurableEcho && f.Ratio[DurableEcho] <= 0 {
			t.Errorf("%s has no ratio to the durable echo: %v", f.Subject, f.Ratio)
		}
	}
	for _, synced := range []Subject{DurableEcho, BareFile, JournalOnly} {
		if w := s.Figure(synced).Median.Written; s.Machine.Disk != inMemory && w < 3072 {
			t.Errorf("%s wrote %.0f bytes an observation to the disk, less than its embedding has", synced, w)
		}
	}
	if told == 0 {
		t.Error("nobody was told of the progress")
	}
	text := s.String()
	for _, f := range s.Figures {
		if !strings.Contains(text, string(f.Subject)) {
			t.Errorf("%s is not in the table:\n%s", f.Subject, text)
		}
	}
}

func TestALoadIsCountedOut(t *testing.T) {
	address := serveEcho(t, nil)
	l := quick()
	l.Count = 1000
	m := driveTo(t, address, l)
	if m.Total != 1000 || m.Acked != 1000 {
		t.Errorf("%d were acked, %d of them counted: expected 1000", m.Total, m.Acked)
	}
}

func TestARateIsKept(t *testing.T) {
	address := serveEcho(t, nil)
	l := quick()
	l.Rate = 200
	began := time.Now()
	m := driveTo(t, address, l)
	due := l.Rate*time.Since(began).Seconds() + float64(l.Streams)
	if m.Total == 0 || float64(m.Total) > due {
		t.Errorf("%d were sent, at most %.0f were due", m.Total, due)
	}
}

func TestAMeasurementEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	o := Options{Load: quick(), Runs: 1, Batch: 1, Dir: t.TempDir(), Subjects: []Subject{Echo}}
	o.Load.Duration = time.Hour
	if _, err := Measure(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ended with %v", err)
	}
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	for _, tc := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Load.Streams = 0 }, "--streams: expected 1 to 20000, got 0"},
		{func(o *Options) { o.Load.Window = -1 }, "--window"},
		{func(o *Options) { o.Load.Rate = -1 }, "--rate"},
		{func(o *Options) { o.Load.Size = 1 << 20 }, "--size"},
		{func(o *Options) { o.Load.Spaces = 0 }, "--spaces"},
		{func(o *Options) { o.Load.Connections = 9 }, "--connections"},
		{func(o *Options) { o.Load.Warmup = -1 }, "--warmup"},
		{func(o *Options) { o.Load.Duration = 0 }, "--duration"},
		{func(o *Options) { o.Runs = 0 }, "--runs"},
		{func(o *Options) { o.Batch = 0 }, "--batch"},
		{func(o *Options) { o.Subjects = nil }, "nothing to measure"},
	} {
		o := Options{Load: DefaultLoad(), Runs: 1, Batch: 1, Subjects: []Subject{Echo}}
		tc.change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("refused with %v, want %q", err, tc.want)
		}
	}
	if _, err := Measure(t.Context(), Options{Load: DefaultLoad(), Runs: 1, Batch: 1, Subjects: []Subject{Echo}, Dir: "/nowhere"}); err == nil {
		t.Error("a directory that is not there was taken")
	}
}
