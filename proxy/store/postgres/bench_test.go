package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// benchSizes are the numbers of memories of docs/scaling.md. Run it with -benchtime=100x.
var benchSizes = []int{10_000, 100_000}

// benchServer is PostgreSQL with its defaults, on a disk that is waited for, but for the memory an index is built in. Cpu is
// the processor time that all of its processes have had: on a busy machine the clock says little.
func benchServer(b *testing.B) (d *database, cpu func() time.Duration) {
	b.Helper()
	p := harness.NewPostgres(b, "maintenance_work_mem=1GB")
	return databaseIn(b, p, ""), func() time.Duration { return processorTime(b, p.Dir) }
}

// processorTime adds up what a server's living processes have had, and what those have had that it has waited for.
func processorTime(b *testing.B, dir string) time.Duration {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		b.Fatal(err)
	}
	parent, _, _ := strings.Cut(string(text), "\n")
	processes, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	ticks := 0
	for _, path := range processes {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		_, rest, _ := strings.Cut(string(stat), ") ") // behind the program's name: state, parent, …, utime, stime, cutime, cstime
		fields := strings.Fields(rest)
		first := 11
		if filepath.Base(filepath.Dir(path)) != parent {
			if fields[1] != parent {
				continue
			}
		}
		for _, n := range fields[first : first+4] {
			t, _ := strconv.Atoi(n)
			ticks += t
		}
	}
	const tick = 10 * time.Millisecond
	return time.Duration(ticks) * tick
}

// near returns a vector in one of a thousand neighbourhoods, as a model's are: an index has nothing to hold on to among
// vectors without any.
func near(seed uint64) []float32 {
	centre := storetest.Vector(seed % 1000)
	r := rand.New(rand.NewPCG(seed, 3))
	for i := range centre {
		centre[i] += r.Float32() - 0.5
	}
	return centre
}

func benchRecord(index uint64) wal.Record {
	return storetest.Record(wal.FormEpisode, index, "garden", "id-"+strconv.FormatUint(index, 10), "the tulips were open at noon, and "+
		"the gardener said that the frost had spared them", near(index))
}

// fill stores memories until there are n.
func fill(b *testing.B, s *Store, from, n int) {
	b.Helper()
	for i := from; i < n; {
		var batch []wal.Record
		for ; len(batch) < 256 && i < n; i++ {
			batch = append(batch, benchRecord(uint64(i+1)))
		}
		mustPut(b, s, batch...)
	}
}

// BenchmarkInsert stores batches of 256, on as many connections at once as the forwarder uses.
func BenchmarkInsert(b *testing.B) {
	for _, index := range []Index{IndexNone, IndexHNSW} {
		b.Run("index="+string(index), func(b *testing.B) {
			d, cpu := benchServer(b)
			s := d.open(func(c *Config) { c.Index = index })
			if index == IndexHNSW {
				waitForIndex(b, d, 1)
			}
			var batches [][]wal.Record
			for i := range 40 {
				var batch []wal.Record
				for n := range 256 {
					batch = append(batch, benchRecord(uint64(256*i+n+1)))
				}
				batches = append(batches, batch)
			}
			b.ResetTimer()
			stored, before := 0, cpu()
			for n := 0; n < b.N; n++ {
				if n%(len(batches)/2) == 0 { // memories that are new, each time
					b.StopTimer()
					d.do("TRUNCATE " + memories)
					b.StartTimer()
				}
				at := n % (len(batches) / 2)
				var other sync.WaitGroup
				other.Go(func() { mustPut(b, s, batches[2*at+1]...) })
				mustPut(b, s, batches[2*at]...)
				other.Wait()
				stored += 512
			}
			b.ReportMetric(float64(stored)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(stored), "cpu-µs/row")
		})
	}
}

// BenchmarkRecall asks for 10 memories, one question at a time.
func BenchmarkRecall(b *testing.B) {
	d, cpu := benchServer(b)
	s := d.open()
	at := 0
	for _, size := range benchSizes {
		fill(b, s, at, size)
		at = size
		d.do("VACUUM ANALYZE " + memories)
		exact := benchRecall(b, fmt.Sprintf("exact/%d", size), s, cpu)
		began := time.Now()
		indexed := d.open(withIndex)
		waitForIndex(b, d, 1)
		built := time.Since(began)
		found := benchRecall(b, fmt.Sprintf("hnsw/%d", size), indexed, cpu)
		same, all := 0, 0
		for q, ids := range exact {
			for _, id := range ids {
				all++
				if slices.Contains(found[q], id) {
					same++
				}
			}
		}
		b.Logf("%d memories: index built in %v, %d MB; recall@10 of the index %.3f; the table has %d MB", size, built.Round(time.Second),
			one[int64](d, "SELECT pg_relation_size('engram_sidecar.memories_hnsw')")>>20, float64(same)/float64(max(all, 1)),
			one[int64](d, "SELECT pg_table_size($1::regclass)", memories)>>20)
		_ = indexed.Close()
		d.do("DROP INDEX engram_sidecar.memories_hnsw")
	}
}

// benchRecall measures, and returns what was found for each question.
func benchRecall(b *testing.B, name string, s *Store, cpu func() time.Duration) map[uint64][]string {
	b.Helper()
	found := map[uint64][]string{}
	b.Run(name, func(b *testing.B) {
		var took []time.Duration
		before := cpu()
		for n := 0; n < b.N; n++ {
			seed := uint64(10_000_000 + n%200)
			q := store.Query{Space: "garden", Vector: near(seed), K: 10, Threshold: -1}
			began := time.Now()
			a, err := s.Recall(context.Background(), q)
			took = append(took, time.Since(began))
			if err != nil {
				b.Fatal(err)
			}
			var ids []string
			for _, h := range a.Hits {
				ids = append(ids, h.ID)
			}
			found[seed] = ids
		}
		b.ReportMetric(float64((cpu()-before).Microseconds())/1000/float64(b.N), "cpu-ms")
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	})
	return found
}
