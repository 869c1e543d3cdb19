package embedded

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
)

// measured is what recalls of a store of one size took.
type measured struct {
	memories     int
	p50, p99     time.Duration // by the clock
	cpu50, cpu99 time.Duration // of the one thread that compares: what the clock would say if nothing else ran
	first        time.Duration // the first recall, by the clock
	heap         uint64        // bytes of Go's heap that are in use
	opened       time.Duration
	bytes        int64
}

// measure recalls from a store as it is, with one worker.
func measure(b testing.TB, s *Store, recalls int, threshold float32) (m measured) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s.cfg.Workers = 1
	m.memories = s.Stats().Live
	var clock, cpu []time.Duration
	for i := range recalls + 1 {
		q := store.Query{Space: "bench", Vector: storetest.Vector(uint64(1e9 + i)), K: 10, Threshold: threshold}
		began, worked := time.Now(), threadTime(b)
		if _, err := s.Recall(b.Context(), q); err != nil {
			b.Fatal(err)
		}
		if i == 0 { // makes the sketches of what nobody has looked at yet
			m.first = time.Since(began)
		} else {
			clock, cpu = append(clock, time.Since(began)), append(cpu, threadTime(b)-worked)
		}
	}
	m.bytes = s.Stats().Bytes
	m.p50, m.p99 = quantiles(clock)
	m.cpu50, m.cpu99 = quantiles(cpu)
	runtime.GC()
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	m.heap = heap.HeapAlloc
	return m
}

// threadTime is the processor's time that this thread has had.
func threadTime(b testing.TB) time.Duration {
	var ts unix.Timespec // the thread's usage, as getrusage has it, is counted in ticks of 4 ms
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

func quantiles(d []time.Duration) (p50, p99 time.Duration) {
	slices.Sort(d)
	return d[len(d)/2], d[len(d)*99/100]
}

// grow fills a store up to n memories, each with a direction of its own.
func grow(b testing.TB, s *Store, n int) {
	b.Helper()
	for have := s.Stats().Rows; have < n; have = s.Stats().Rows {
		if err := s.Put(b.Context(), episodes(uint64(have)+1, min(1000, n-have), storetest.Vector))[0]; err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecall measures recalls of ten by embedding, with one worker, in stores of several sizes; a million with
// NIGHTLY=1. With a threshold in the midst of all scores there are more whose sketch does not tell whether they reach it.
// Cpu-ms is what a recall takes of one core, whatever else the machine does.
func BenchmarkRecall(b *testing.B) {
	sizes := []int{10_000, 100_000}
	if os.Getenv("NIGHTLY") != "" {
		sizes = append(sizes, 1_000_000)
	}
	s, err := Open(b.TempDir(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for _, n := range sizes {
		grow(b, s, n)
		b.Run(strconv.Itoa(n), func(b *testing.B) { report(b, s, -1) })
		b.Run(strconv.Itoa(n)+"/threshold=0", func(b *testing.B) { report(b, s, 0) })
	}
}

func report(b *testing.B, s *Store, threshold float32) {
	m := measure(b, s, max(b.N, 20), threshold)
	b.ReportMetric(ms(m.p50), "p50-ms")
	b.ReportMetric(ms(m.p99), "p99-ms")
	b.ReportMetric(ms(m.cpu50), "cpu-ms")
	b.ReportMetric(float64(m.heap)/1e6, "heap-MB")
}

// BenchmarkRecallByContext reads every body of a hundred thousand.
func BenchmarkRecallByContext(b *testing.B) {
	s, err := Open(b.TempDir(), Config{Workers: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	grow(b, s, 100_000)
	for b.Loop() {
		if _, err := s.Recall(b.Context(), store.Query{Space: "bench", K: 10}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecallsAtOnce has eight recalls of a hundred thousand under way all the time: they share passes.
func BenchmarkRecallsAtOnce(b *testing.B) {
	s, err := Open(b.TempDir(), Config{Workers: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	grow(b, s, 100_000)
	b.SetParallelism(max(1, 8/runtime.GOMAXPROCS(0)))
	if _, err := s.Recall(b.Context(), store.Query{Space: "bench", Vector: storetest.Vector(1), K: 10}); err != nil { // makes the sketches
		b.Fatal(err)
	}
	s.passes.count.Store(0)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := uint64(0); pb.Next(); i++ {
			if _, err := s.Recall(b.Context(), store.Query{Space: "bench", Vector: storetest.Vector(i), K: 10}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/float64(max(s.passes.count.Load(), 1)), "recalls/pass")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// TestMeasureScaling writes the table and the plot of docs/scaling.md into the directory that SCALING names: a store grows
// to a million memories, and is measured on the way.
//
//	SCALING=docs go test ./proxy/store/embedded -run TestMeasureScaling -timeout 30m
func TestMeasureScaling(t *testing.T) {
	out := os.Getenv("SCALING")
	if out == "" {
		t.Skip("SCALING names no directory")
	}
	dir := filepath.Join(t.TempDir(), "store")
	var all []measured
	for _, n := range []int{10_000, 30_000, 100_000, 300_000, 1_000_000} {
		s, err := Open(dir, Config{})
		if err != nil {
			t.Fatal(err)
		}
		grow(t, s, n)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if s, err = Open(dir, Config{}); err != nil {
			t.Fatal(err)
		}
		opened := time.Since(began)
		m := measure(t, s, 100, -1)
		m.opened = opened
		all = append(all, m)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	writeTable(t, filepath.Join(out, "scaling-embedded.csv"), all)
	var points []point
	for _, m := range all {
		points = append(points, point{float64(m.memories), ms(m.cpu50), ms(m.cpu99)})
	}
	if err := os.WriteFile(filepath.Join(out, "scaling-embedded.svg"), plot("Embedded store: a recall of ten, one core", points), 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeTable(t *testing.T, path string, all []measured) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(f)
	rows := [][]string{{"memories", "cpu_p50_ms", "cpu_p99_ms", "clock_p50_ms", "clock_p99_ms", "first_ms", "heap_mb", "open_s", "disk_mb"}}
	for _, m := range all {
		rows = append(rows, []string{
			strconv.Itoa(m.memories), fmt.Sprintf("%.1f", ms(m.cpu50)), fmt.Sprintf("%.1f", ms(m.cpu99)), fmt.Sprintf("%.1f", ms(m.p50)),
			fmt.Sprintf("%.1f", ms(m.p99)), fmt.Sprintf("%.0f", ms(m.first)), fmt.Sprintf("%.0f", float64(m.heap)/1e6), fmt.Sprintf("%.2f", m.opened.Seconds()),
			fmt.Sprintf("%.0f", float64(m.bytes)/1e6),
		})
	}
	if err := w.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
