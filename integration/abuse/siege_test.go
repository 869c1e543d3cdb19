package abuse

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

const mib = 1 << 20

// nightly says how often: the whole in the nightly run, less in any other.
func nightly(whole, less int) int {
	if os.Getenv("NIGHTLY") == "1" {
		return whole
	}
	return less
}

// measured says that waits are judged: on a machine where nothing else runs.
func measured() bool { return os.Getenv("MEASURE") == "1" }

// siege is a sidecar, and a well-behaved client that uses it all the time.
type siege struct {
	t *testing.T
	*harness.Sidecar

	mu    sync.Mutex
	waits []time.Duration // of the client, one for each write
	wrong error           // what it met with, if anything

	attacker *attacker        // in the process that attacks; nil in the one that judges
	begins   func()           // called before each round, may be nil
	held     func(sent int64) // called when the attacker's clients are held
	probed   [][2]int         // writes that waited for what a test itself asked of the sidecar, from the first to the last
}

func besiege(t *testing.T, flags ...string) *siege {
	t.Helper()
	if a := attacking(t); a != nil {
		return &siege{t: t, Sidecar: harness.Reach(t, a.listen, a.admin), attacker: a}
	}
	s := &siege{t: t, Sidecar: harness.NewSidecar(t, harness.Binary(t), flags...)}
	s.Start()
	ctx, cancel := context.WithCancel(t.Context())
	var client sync.WaitGroup
	client.Go(func() { s.behave(ctx) })
	t.Cleanup(func() { cancel(); client.Wait() }) // before the connection and the sidecar end
	return s
}

// behave writes one memory after the other, until ctx ends or one is not acknowledged.
func (s *siege) behave(ctx context.Context) {
	client := engramv1.NewEngramServiceClient(s.Connect())
	for n := uint64(1); ctx.Err() == nil; n++ {
		e := harness.EpisodeOf(harness.Observation{Session: "good", Sequence: n})
		e.Id = fmt.Sprintf("good-%d", n)
		bounded, cancel := context.WithTimeout(ctx, harness.Patience)
		began := time.Now()
		answer, err := client.Remember(bounded, &engramv1.RememberRequest{MemoryType: &engramv1.RememberRequest_Episode{Episode: e}})
		cancel()
		s.mu.Lock()
		switch {
		case ctx.Err() != nil:
		case err != nil:
			s.wrong = fmt.Errorf("write %d: %w", n, err)
		case answer.GetMemoryId() != e.GetId():
			s.wrong = fmt.Errorf("write %d was answered with %q", n, answer.GetMemoryId())
		default:
			s.waits = append(s.waits, time.Since(began))
		}
		stop := s.wrong != nil
		s.mu.Unlock()
		if stop {
			return
		}
		time.Sleep(2 * time.Millisecond) // it is well-behaved
	}
}

// served returns how many writes were acknowledged so far; any that was not fails the test.
func (s *siege) served() int {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wrong != nil {
		s.t.Fatalf("the well-behaved client: %v", s.wrong)
	}
	return len(s.waits)
}

// servedMore waits for so many acknowledged writes from now on.
func (s *siege) servedMore(count int) {
	s.t.Helper()
	if s.attacker != nil { // its judge is elsewhere
		return
	}
	enough := s.served() + count
	s.Await("the well-behaved client to be served", func() (bool, error) { return s.served() >= enough, nil })
}

// p99 is what the slowest hundredth of the writes from one to another waited at least.
func (s *siege) p99(from, to int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var waits []time.Duration
	for i := from; i < to; i++ {
		if !slices.ContainsFunc(s.probed, func(p [2]int) bool { return i >= p[0] && i <= p[1] }) {
			waits = append(waits, s.waits[i])
		}
	}
	if len(waits) == 0 {
		return 0
	}
	slices.Sort(waits)
	return waits[len(waits)*99/100]
}

// probe asks something of the sidecar that nobody else would, such as a collection of garbage, and leaves what its client
// waited for meanwhile out of account.
func (s *siege) probe(do func()) {
	s.t.Helper()
	from := s.served()
	do()
	to := s.served() // and the one that is under way
	s.mu.Lock()
	s.probed = append(s.probed, [2]int{from, to})
	s.mu.Unlock()
}

// stand runs an attack and judges: the process is the one it was, nothing failed inside it, its memory grew by no more than
// bound at any time, and the client was served before, meanwhile and afterwards. With MEASURE=1 it does so several times
// and judges how long the client waited as well; else that is only told. In the attacker's process it is the attack.
func (s *siege) stand(bound int64, attack func()) {
	s.t.Helper()
	if s.attacker != nil {
		s.attacker.run(attack)
	}
	s.servedMore(100)
	if measured() {
		s.servedMore(1000) // so that what the client's own writes take in five rounds is there before
	}
	pid, before := s.Pid(), s.rss()
	ctx, cancel := context.WithCancel(s.t.Context())
	peak := before
	var watch sync.WaitGroup
	watch.Go(func() {
		for ctx.Err() == nil {
			peak = max(peak, s.rss())
			time.Sleep(10 * time.Millisecond)
		}
	})
	var slower []float64
	rounds := 1
	if measured() {
		rounds = 5
	}
	for range rounds {
		slower = append(slower, s.round())
	}
	cancel()
	watch.Wait()
	s.servedMore(100)
	if s.Pid() != pid {
		s.t.Errorf("the process is another one")
	}
	if n := s.metric("engram_sidecar_panics_total"); n != 0 {
		s.t.Errorf("%v calls failed inside the sidecar", n)
	}
	slices.Sort(slower)
	s.t.Logf("memory %d MiB, at most %d MiB more (bound %d); the client's p99 grew by %.1f in the median of %.1f",
		before/mib, (peak-before)/mib, bound/mib, slower[len(slower)/2], slower)
	if harness.Race {
		return // the race detector takes memory of its own, and time
	}
	if peak-before > bound {
		s.t.Errorf("memory grew from %d to %d MiB, expected at most %d MiB more", before/mib, peak/mib, bound/mib)
	}
	if slower[len(slower)/2] > 2 && measured() {
		s.t.Errorf("the well-behaved client's p99 grew by %.1f in the median, expected it to double at most", slower[len(slower)/2])
	}
}

// round runs the attack once, and returns by how much the client's p99 grew meanwhile. Waits of less than a millisecond are
// those of the machine.
func (s *siege) round() float64 {
	s.t.Helper()
	calm := s.served()
	if measured() {
		s.servedMore(1000)
	}
	s.servedMore(100)
	if s.begins != nil {
		s.probe(s.begins)
	}
	begin := s.served()
	s.attack()
	end := s.served()
	before, meanwhile := s.p99(calm, begin), s.p99(begin, end)
	s.t.Logf("the client's p99: %v before, %v meanwhile (%d writes)", before, meanwhile, end-begin)
	return float64(max(meanwhile, time.Millisecond)) / float64(max(before, time.Millisecond))
}

// rss is the memory that the process has in use of its own, in bytes: what the embedded store maps of its files, more with each
// write of the well-behaved client, is the page cache's.
func (s *siege) rss() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		return 0 // it is gone, which others notice
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "RssAnon:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// metric reads one of the sidecar's own.
func (s *siege) metric(name string) float64 {
	s.t.Helper()
	answer, err := s.Get("/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range bytes.Lines(answer.Text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			value, err := strconv.ParseFloat(string(bytes.TrimSpace(rest)), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return value
		}
	}
	s.t.Fatalf("no metric %s", name)
	return 0
}

// live is the memory that is in use behind a collection of garbage, in bytes. It needs --pprof.
func (s *siege) live() int64 {
	s.t.Helper()
	if answer, err := s.Get("/debug/pprof/heap?gc=1"); err != nil || answer.StatusCode != http.StatusOK {
		s.t.Fatalf("/debug/pprof/heap: %v, %v", answer, err)
	}
	return int64(s.metric("go_memstats_heap_alloc_bytes") + s.metric("go_memstats_stack_inuse_bytes"))
}
