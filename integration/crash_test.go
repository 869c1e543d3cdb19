package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// Build tags of sidecars that break one promise each. The tests that use them show that the suite finds out.
const (
	faultAckBeforeSync = "fault_ack_before_sync" // acks what only memory holds
	faultNoDedupe      = "fault_no_dedupe"       // gives every delivery a memory id of its own
)

// TestCrash kills the real binary again and again while four sessions write through it to a store that goes away now and
// then, and lets the oracle judge: nothing acked is lost, nothing is stored twice, changed, out of order or made up, and
// every session goes on where it stood.
func TestCrash(t *testing.T) {
	c := newCrash(t, harness.Binary(t), setting(t, "ENGRAM_CRASH_KILLS", 50))
	c.run()
	verdict := c.judge()
	for _, violation := range verdict.Violations[:min(len(verdict.Violations), 10)] {
		t.Errorf("%s: %s", violation.Invariant, violation.Text)
	}
	if n := len(verdict.Violations); n > 10 {
		t.Errorf("and %d violations more", n-10)
	}
	c.checkBalance(verdict)
	c.checkCleanStop()
	c.print(verdict)
}

// TestCrashCatchesAckBeforeSync runs the same against a sidecar that acks what only its memory holds.
func TestCrashCatchesAckBeforeSync(t *testing.T) {
	catches(t, faultAckBeforeSync, harness.AckedIsStored, harness.ResumeInRange)
}

// TestCrashCatchesNoDedupe runs the same against a sidecar that gives each delivery an id of its own.
func TestCrashCatchesNoDedupe(t *testing.T) {
	catches(t, faultNoDedupe, harness.StoredOnce)
}

func catches(t *testing.T, fault string, invariants ...string) {
	t.Helper()
	c := newCrash(t, harness.Binary(t, fault), setting(t, "ENGRAM_CRASH_KILLS", 50))
	c.untilBroken = true
	c.run()
	verdict := c.judge()
	for _, violation := range verdict.Violations {
		if slices.Contains(invariants, violation.Invariant) {
			t.Logf("caught after %d kills: %s: %s", c.kills, violation.Invariant, violation.Text)
			return
		}
	}
	t.Errorf("a build with %s passed %d kills: violations %v, want one of %q", fault, c.kills, verdict.Violations, invariants)
}

// crash is one run: a sidecar that is killed, a store behind it, and clients in front of it.
type crash struct {
	t           testing.TB
	random      *rand.Rand
	oracle      *harness.Oracle
	store       *harness.Engram
	sidecar     *harness.Sidecar
	clients     []*harness.Client
	rounds      int
	untilBroken bool // end as soon as the oracle has seen a violation

	kills   int
	outages int             // of the store
	ready   []time.Duration // from the start of a process to its readiness
}

func newCrash(t testing.TB, bin string, kills int) *crash {
	t.Helper()
	seed := uint64(setting(t, "ENGRAM_CRASH_SEED", int(time.Now().UnixNano()&0x7fffffff)))
	t.Logf("seed %d (ENGRAM_CRASH_SEED=%d repeats its choices)", seed, seed)
	c := &crash{t: t, random: rand.New(rand.NewPCG(seed, 1)), oracle: harness.NewOracle(), rounds: kills}
	c.store = harness.NewEngram(t, c.oracle)
	c.store.Set(harness.Faults{Swallow: swallowSome})
	c.sidecar = harness.NewSidecar(t, bin, "--store", "engram://"+c.store.Address)
	for n := range 4 {
		c.clients = append(c.clients, &harness.Client{
			Name: fmt.Sprintf("client-%d", n), Conn: c.sidecar.Connect(), Oracle: c.oracle, Window: 64, Strict: true,
		})
	}
	return c
}

// run kills as often as it should, and then lets clients and store come to rest.
func (c *crash) run() {
	c.t.Helper()
	ctx, cancel := context.WithCancelCause(c.t.Context())
	enough := make(chan struct{})
	var wait sync.WaitGroup
	failed := make([]error, len(c.clients))
	for n, client := range c.clients {
		wait.Go(func() { failed[n] = client.Run(ctx, enough) })
	}
	defer wait.Wait()
	defer cancel(errTestOver)

	for c.kills < c.rounds && !(c.untilBroken && c.oracle.Broken()) {
		c.round()
	}
	c.store.Set(harness.Faults{Swallow: swallowSome})
	if !c.store.Running() {
		c.store.Start()
	}
	c.ready = append(c.ready, c.sidecar.Start())
	close(enough)
	late := time.AfterFunc(harness.Patience, func() { cancel(errNotAcked) })
	defer late.Stop()
	wait.Wait()
	if c.untilBroken {
		return // a broken sidecar may do anything to its clients
	}
	for n, client := range c.clients {
		if failed[n] != nil {
			c.t.Error(failed[n])
		}
		for _, fault := range client.Faults {
			c.t.Error(fault)
		}
	}
}

var (
	errTestOver = fmt.Errorf("the test is over")
	errNotAcked = fmt.Errorf("not everything was acked within %v after the last kill", harness.Patience)
)

// round is one life of the sidecar. One in four ends before it was ready, in the middle of its recovery or before.
func (c *crash) round() {
	c.t.Helper()
	c.flicker()
	if c.random.IntN(4) == 0 {
		c.sidecar.Exec()
		c.pause(0, 60*time.Millisecond)
	} else {
		c.ready = append(c.ready, c.sidecar.Start())
		c.pause(15*time.Millisecond, 400*time.Millisecond)
	}
	c.sidecar.Kill()
	c.kills++
}

// swallowSome lets one answer in 977 get lost, after the memory was stored.
func swallowSome(taken int) bool { return taken%977 == 0 }

// flicker stops the store in one round of five, and starts it again in one of two, as fast as ever or slow.
func (c *crash) flicker() {
	c.t.Helper()
	switch running := c.store.Running(); {
	case running && c.random.IntN(5) == 0:
		c.store.Stop()
		c.outages++
	case !running && c.random.IntN(2) == 0:
		slow := time.Duration(c.random.IntN(3)) * time.Millisecond
		c.store.Set(harness.Faults{Swallow: swallowSome, Delay: slow})
		c.store.Start()
	}
}

// pause is the random moment of the kill: nothing is waited for.
func (c *crash) pause(least, most time.Duration) {
	<-time.After(least + time.Duration(c.random.Int64N(int64(most-least))))
}

// judge waits until the sidecar has handed everything on.
func (c *crash) judge() harness.Verdict {
	c.t.Helper()
	c.sidecar.Drained()
	return c.oracle.Judge()
}

// checkBalance compares what the sidecar says of itself with what clients and store have seen.
func (c *crash) checkBalance(verdict harness.Verdict) {
	c.t.Helper()
	b, err := c.sidecar.Balance()
	if err != nil {
		c.t.Fatal(err)
	}
	if !b.Even() || b.Pending != 0 || b.Dead != 0 || b.Dropped != 0 || b.Damaged != 0 {
		c.t.Errorf("balance %+v: expected accepted = delivered and nothing else", b)
	}
	var last uint64 // every sequence up to the last one was accepted, once
	for _, client := range c.clients {
		last += client.Highest
	}
	if b.Accepted != last || uint64(verdict.Stored) != last {
		c.t.Errorf("the clients have observed %d, the sidecar accepted %d, the store holds %d: expected the same thrice",
			last, b.Accepted, verdict.Stored)
	}
	if verdict.Acked < verdict.Sent {
		c.t.Logf("%d observations were stored although the client never read their ack", verdict.Sent-verdict.Acked)
	}
}

// checkCleanStop stops the sidecar in peace and starts it again: nothing that was confirmed is sent again.
func (c *crash) checkCleanStop() {
	c.t.Helper()
	before := c.oracle.Judge().Redelivered
	kept, err := c.sidecar.Balance()
	if err != nil {
		c.t.Fatal(err)
	}
	if code := c.sidecar.Stop(); code != 0 {
		c.t.Errorf("SIGTERM: exit code %d, want 0", code)
	}
	c.sidecar.Start()
	after := c.sidecar.Drained()
	if after != kept {
		c.t.Errorf("balance %+v after a clean stop, want %+v as before", after, kept)
	}
	if again := c.oracle.Judge().Redelivered - before; again != 0 {
		c.t.Errorf("%d memories were sent again after a clean stop, want 0", again)
	}
}

func (c *crash) print(v harness.Verdict) {
	slices.Sort(c.ready)
	quantile := func(q float64) time.Duration {
		return c.ready[int(q*float64(len(c.ready)-1))].Round(time.Millisecond)
	}
	c.t.Logf("%d kills, %d outages of the store; %d sent, %d acked, %d stored, %d redelivered, %d violations",
		c.kills, c.outages, v.Sent, v.Acked, v.Stored, v.Redelivered, len(v.Violations))
	c.t.Logf("start to ready: p50 %v, p99 %v, max %v", quantile(0.5), quantile(0.99), quantile(1))
}

// setting reads a number from the environment.
func setting(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%q: expected a number", name, text)
	}
	return n
}
