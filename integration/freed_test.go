package integration

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// Build tags of sidecars that use memory again too early, and of the one that shows it: it overwrites whatever is freed.
const (
	spoilFreed       = "spoil_freed"
	faultAnswerEarly = "fault_answer_early" // frees answers when gRPC has taken them, not when they are written
	faultFrameReused = "fault_frame_reused" // overwrites messages that are on their way to the store
)

// company is clients of every kind that all talk to one sidecar at once, well-mannered and ill-mannered ones.
type company struct {
	*witness
	t       *testing.T
	sidecar *harness.Sidecar
	recalls bool // the store can be asked
	cancel  context.CancelFunc
	enough  chan struct{}
	wait    sync.WaitGroup
}

func (c *company) begin() {
	ctx, cancel := context.WithCancel(c.t.Context())
	c.cancel, c.enough = cancel, make(chan struct{})
	c.t.Cleanup(cancel)
	zip := grpc.UseCompressor(gzip.Name)
	for _, s := range []speaker{
		{name: "plain"},
		{name: "cumulative", acks: "cumulative"},
		{name: "indexed", acks: "indexed"},
		{name: "both", acks: "cumulative,indexed", late: true},
		{name: "zipped", acks: "indexed", call: zip},
		{name: "late", late: true},
		{name: "late-zipped", late: true, call: zip},
		{name: "late-and-gone", late: true, leaves: true},
		{name: "gone", leaves: true},
	} {
		s.company, s.conn = c, c.sidecar.Connect()
		c.wait.Go(func() { s.run(ctx) })
	}
	for name, serve := range map[string]func(*caller, context.Context) error{
		"remember": (*caller).remember, "remembers": (*caller).rememberMany, "flow": (*caller).flow,
	} {
		k := &caller{company: c, name: name, rpc: engramv1.NewEngramServiceClient(c.sidecar.Connect())}
		c.wait.Go(func() { k.run(ctx, serve) })
	}
}

// end lets the clients finish.
func (c *company) end() {
	close(c.enough)
	late := time.AfterFunc(harness.Patience, c.cancel)
	defer late.Stop()
	c.wait.Wait()
	c.cancel()
}

// speaks waits until so many more observations were acked, or something is wrong.
func (c *company) speaks(more int) {
	c.t.Helper()
	_, before, _ := c.counts()
	c.sidecar.Await("acks", func() (bool, error) {
		_, acked, _ := c.counts()
		return acked >= before+more || c.caught() != "", nil
	})
}

// caught is what was wrong so far.
func (c *company) caught() string {
	log := c.sidecar.Log.String()
	for _, said := range []string{"FREED MEMORY", "WARNING: DATA RACE"} {
		if i := strings.Index(log, said); i >= 0 {
			return log[i:]
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.wrong[:min(len(c.wrong), 1)], "")
}

// trouble is everything that can happen to a store, and to the sidecar while it owes answers to clients that do not read.
func (c *company) trouble(store *harness.Engram) {
	arrives := func(e *engramv1.Episode) error { c.arrives(e); return nil }
	taken := harness.Faults{Refuse: arrives}
	refused := harness.Faults{Refuse: func(e *engramv1.Episode) error {
		if of, _, err := harness.ObservationIn(e); err == nil && of.Sequence%10 == 7 {
			return status.Error(codes.ResourceExhausted, "later")
		}
		c.arrives(e)
		return nil
	}}
	for _, step := range []func(){
		func() { store.Set(taken) },
		func() { store.Set(harness.Faults{Refuse: arrives, Delay: 100 * time.Millisecond}) }, // gRPC's window fills: writes block
		func() { store.Stop() },
		func() { store.Set(taken); store.Start() },
		func() { store.Set(harness.Faults{Refuse: arrives, Swallow: func(n int) bool { return n%40 == 0 }}) },
		func() { store.Set(refused) },
		func() { store.Stop(); c.sidecar.Stop(); c.sidecar.Start() }, // what is pending comes from the journal from now on
		func() { c.sidecar.Kill(); store.Set(taken); store.Start(); c.sidecar.Start() },
	} {
		step()
		if c.speaks(300); c.caught() != "" {
			return
		}
	}
}

// stir has the company talk through all that trouble, to a sidecar built with the tags.
func stir(t *testing.T, tags ...string) *company {
	t.Helper()
	store := harness.NewEngram(t, nil)
	c := &company{
		witness: newWitness(), t: t,
		sidecar: harness.NewSidecar(t, harness.Binary(t, tags...), "--store", "engram://"+store.Address),
	}
	c.sidecar.Faulty = len(tags) > 1
	c.sidecar.Start()
	c.begin()
	c.trouble(store)
	c.end()
	return c
}

// report fails the test for what was wrong.
func (c *company) report(t *testing.T) {
	t.Helper()
	if what := c.caught(); what != "" {
		t.Errorf("%d things are wrong, the first: %.1000s", max(len(c.wrong), 1), what)
	}
}

// TestNobodyReadsFreedMemory: every byte that a client is told, that the journal holds and that the store gets is what it was
// when it was sent, though each buffer is overwritten the moment it is free.
func TestNobodyReadsFreedMemory(t *testing.T) {
	c := stir(t, spoilFreed)
	if c.caught() == "" {
		c.sidecar.Drained()
		c.allStored()
	}
	c.report(t)
	sent, acked, stored := c.counts()
	t.Logf("%d sent, %d acked, %d stored", sent, acked, stored)
}

// TestFreedMemoryIsNoticed: the same against sidecars that use memory again too early.
func TestFreedMemoryIsNoticed(t *testing.T) {
	for _, fault := range []string{faultAnswerEarly, faultFrameReused} {
		t.Run(fault, func(t *testing.T) {
			c := stir(t, spoilFreed, fault)
			c.allStored()
			what := c.caught()
			if what == "" {
				t.Fatal("nothing was found")
			}
			t.Logf("caught: %.300s", what)
		})
	}
}

// TestRecallsReadNoFreedMemory: what a store keeps, and what waits for it, is recalled as it was sent.
func TestRecallsReadNoFreedMemory(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { recallAll(t) })
	t.Run("postgres", func(t *testing.T) { recallAll(t, "--store", harness.NewPostgres(t).URL("postgres")) })
}

func recallAll(t *testing.T, flags ...string) {
	c := &company{
		witness: newWitness(), t: t, recalls: true,
		sidecar: harness.NewSidecar(t, harness.Binary(t, spoilFreed), flags...),
	}
	c.sidecar.Start()
	c.begin()
	c.speaks(1000)
	c.sidecar.Kill()
	c.sidecar.Start()
	c.speaks(1000)
	c.end()
	c.sidecar.Drained()
	rpc, left := engramv1.NewEngramServiceClient(c.sidecar.Connect()), 500
	for what, id := range c.acked {
		if left--; left < 0 {
			break
		}
		e := harness.EpisodeOf(c.named[what])
		answer, err := rpc.Recall(t.Context(), &engramv1.RecallRequest{Cue: cueOf(e), MaxResults: 1})
		if err != nil {
			t.Fatal(err)
		}
		c.recalled(e, id, answer.GetMemories())
	}
	c.report(t)
}
