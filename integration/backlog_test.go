package integration

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// nightly is the full size of a test in the nightly run, and a sample of it otherwise.
func nightly(full, sample int) int {
	if os.Getenv("NIGHTLY") == "1" {
		return full
	}
	return sample
}

// mostMemory is what the sidecar may have in memory at its peak, whatever waits on its disk.
const mostMemory = 256 << 20

// peakMemory is the most that the running process has had resident so far.
func peakMemory(t *testing.T, s *harness.Sidecar) uint64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("/proc does not tell the peak of the resident memory")
	return 0
}

func checkMemory(t *testing.T, s *harness.Sidecar, when string) {
	t.Helper()
	peak := peakMemory(t, s)
	t.Logf("%s: peak RSS %d MiB", when, peak>>20)
	if peak > mostMemory && !harness.Race {
		t.Errorf("%s: peak RSS %d MiB, want at most %d", when, peak>>20, mostMemory>>20)
	}
}

// until polls a condition as long as its measure goes on changing: what takes long must not be told from what hangs by a
// deadline.
func until(t *testing.T, what string, ask func() (measure uint64, done bool, err error)) {
	t.Helper()
	last, moved := uint64(0), time.Now()
	for {
		measure, done, err := ask()
		switch {
		case err != nil:
			t.Fatalf("waiting for %s: %v", what, err)
		case done:
			return
		case measure != last:
			last, moved = measure, time.Now()
		case time.Since(moved) > harness.Patience:
			t.Fatalf("waiting for %s: nothing has moved for %v, at %d", what, harness.Patience, measure)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// crowd is clients that observe, each in a session of its own.
type crowd struct {
	t       *testing.T
	f       *forwarding
	clients []*harness.Client
}

func (f *forwarding) crowd(size int) *crowd {
	c := &crowd{t: f.t, f: f}
	for n := range size {
		c.clients = append(c.clients, &harness.Client{
			Name: fmt.Sprintf("client-%d", n), Conn: f.sidecar.Connect(), Oracle: f.oracle, Window: 256, Strict: true,
		})
	}
	return c
}

// observe returns when at least so many observations are acked, how many are, and how long that took.
func (c *crowd) observe(least uint64) (acked uint64, took time.Duration) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	enough := make(chan struct{})
	var wait sync.WaitGroup
	failed := make([]error, len(c.clients))
	began := time.Now()
	for n, client := range c.clients {
		wait.Go(func() { failed[n] = client.Run(ctx, enough) }) // ends with enough, or ctx; awaited below
	}
	defer wait.Wait()
	defer cancel()
	until(c.t, "acks", func() (uint64, bool, error) {
		acked = c.acked()
		return acked, acked >= least, nil
	})
	close(enough)
	wait.Wait()
	for n, client := range c.clients {
		if failed[n] != nil {
			c.t.Error(failed[n])
		}
		for _, fault := range client.Faults {
			c.t.Error(fault)
		}
	}
	return c.acked(), time.Since(began)
}

func (c *crowd) acked() (sum uint64) {
	for _, client := range c.clients {
		sum += c.f.oracle.LastAck(client.Name)
	}
	return sum
}

// drained waits until nothing is pending, and calls half once when about half of it is delivered.
func (f *forwarding) drained(pending uint64, half func(*harness.Status)) {
	f.t.Helper()
	until(f.t, "an empty queue", func() (uint64, bool, error) {
		s, err := f.sidecar.Status()
		if err != nil {
			return 0, false, err
		}
		if half != nil && s.Balance.Pending < pending/2 {
			half(s)
			half = nil
		}
		return s.Balance.Pending, s.Balance.Pending == 0, nil
	})
}

// TestLongOutage: the store is down while a long backlog comes in (1,000,000 observations, 3.2 GB, in the nightly run). All are
// acked, the memory stays what it is, a start after kill -9 is ready soon, all are delivered once the store is back, and the
// disk is given back meanwhile.
func TestLongOutage(t *testing.T) {
	f := newForwarding(t)
	f.sidecar.Kill()
	f.sidecar.Flags = append(f.sidecar.Flags, "--journal-max-bytes", "8GiB")
	f.sidecar.Start()
	f.store.Stop()
	clients := f.crowd(8)
	acked, took := clients.observe(uint64(setting(t, "ENGRAM_BACKLOG", nightly(1_000_000, 20_000))))
	full, err := f.sidecar.Status()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d acked in %v, %.0f a second; the journal has %d MiB in %d generations", acked, took.Round(time.Millisecond),
		float64(acked)/took.Seconds(), full.Journal.Bytes>>20, full.Journal.Generations)
	if b := *full.Balance; b != (harness.Balance{Accepted: acked, Pending: acked}) {
		t.Errorf("balance %+v, want %d accepted and pending", b, acked)
	}
	checkMemory(t, f.sidecar, "while the store was away")
	f.sidecar.Kill()
	t.Logf("ready %v after a kill with that backlog", f.sidecar.Start().Round(time.Millisecond))
	if b, err := f.sidecar.Balance(); err != nil || b != (harness.Balance{Accepted: acked, Pending: acked}) {
		t.Errorf("balance %+v, %v, want %d accepted and pending", b, err, acked)
	}
	checkMemory(t, f.sidecar, "after the start")
	f.store.Start()
	began := time.Now()
	f.drained(acked, func(s *harness.Status) {
		if s.Journal.Bytes > full.Journal.Bytes*3/4 {
			t.Errorf("half is delivered, and the journal still has %d of %d bytes", s.Journal.Bytes, full.Journal.Bytes)
		}
	})
	t.Logf("drained in %v", time.Since(began).Round(time.Millisecond))
	f.sidecar.Await("the disk given back", func() (bool, error) {
		s, err := f.sidecar.Status()
		return err == nil && s.Journal.Generations <= 3, err
	})
	checkMemory(t, f.sidecar, "after the drain")
	f.delivered(acked, 0)
}

// TestOneInTenAnswersIsLost: the store commits and its answer never comes, for one in ten of 100,000 (in the nightly run).
// What is not known is sent again: nothing is lost, and nothing is there twice.
func TestOneInTenAnswersIsLost(t *testing.T) {
	f := newForwarding(t)
	f.store.Set(harness.Faults{Swallow: func(taken int) bool { return taken%10 == 0 }})
	acked, _ := f.crowd(4).observe(uint64(nightly(100_000, 2_000)))
	f.drained(acked, nil)
	f.delivered(acked, 0)
	redelivered := f.oracle.Judge().Redelivered
	t.Logf("%d acked, %d delivered twice", acked, redelivered)
	if uint64(redelivered) < acked/20 {
		t.Errorf("%d were delivered twice, which is too few for every tenth answer lost", redelivered)
	}
}
