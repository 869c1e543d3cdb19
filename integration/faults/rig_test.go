package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

var (
	errTestOver = errors.New("the test is over")
	errNotAcked = fmt.Errorf("not everything was acked within %v after the last fault", harness.Patience)
)

// rig is a sidecar on a disk that a test breaks, an Engram store on a machine that stays whole, clients, and the oracle
// that judges. Its methods are for the test's goroutine.
type rig struct {
	t       testing.TB
	random  *rand.Rand
	epoch   *harness.Epoch
	oracle  *harness.Oracle
	store   *harness.Engram
	sidecar *harness.Sidecar
	clients []*harness.Client

	enough  chan struct{}
	cancel  context.CancelCauseFunc
	wait    sync.WaitGroup
	failed  []error
	resting bool
	faults  int
	ready   []time.Duration // from each start to its readiness
}

// newRig prepares one whose data directory is dir, with so many clients, which do not run yet.
func newRig(t testing.TB, bin, dir string, clients int, flags ...string) *rig {
	t.Helper()
	r := &rig{
		t: t, random: newRandom(t), epoch: &harness.Epoch{}, oracle: harness.NewOracle(),
		enough: make(chan struct{}), failed: make([]error, clients),
	}
	r.store = harness.NewEngram(t, r.oracle)
	r.store.Epoch = r.epoch
	r.sidecar = harness.NewSidecar(t, bin, append([]string{"--store", "engram://" + r.store.Address}, flags...)...)
	r.sidecar.Dir = dir
	conn := r.sidecar.Connect()
	for n := range clients {
		r.clients = append(r.clients, &harness.Client{
			Name: fmt.Sprintf("client-%d", n), Conn: conn, Oracle: r.oracle, Window: 64, Epoch: r.epoch,
		})
	}
	return r
}

// begin lets the clients observe without end, whether the sidecar is there or not.
func (r *rig) begin() {
	ctx, cancel := context.WithCancelCause(r.t.Context())
	r.cancel = cancel
	for n, c := range r.clients {
		r.wait.Go(func() { r.failed[n] = c.Run(ctx, r.enough) })
	}
	r.t.Cleanup(r.end)
}

// end stops the clients, wherever they are.
func (r *rig) end() {
	r.cancel(errTestOver)
	r.wait.Wait()
}

// start starts the sidecar and notes how long it took to be ready.
func (r *rig) start() {
	r.t.Helper()
	r.ready = append(r.ready, r.sidecar.Start())
}

// pause is a random moment: nothing is waited for.
func (r *rig) pause(least, most time.Duration) {
	<-time.After(least + time.Duration(r.random.Int64N(int64(most-least))))
}

// rest lets the clients get their last acks and stop, while the sidecar is well.
func (r *rig) rest() {
	r.t.Helper()
	if r.resting {
		return
	}
	r.resting = true
	close(r.enough)
	late := time.AfterFunc(harness.Patience, func() { r.cancel(errNotAcked) })
	defer late.Stop()
	r.wait.Wait()
}

// judge comes to rest and fails the test for every promise that was broken.
func (r *rig) judge() {
	r.t.Helper()
	r.rest()
	for n, c := range r.clients {
		if r.failed[n] != nil {
			r.t.Error(r.failed[n])
		}
		for _, fault := range c.Faults {
			r.t.Error(fault)
		}
	}
	balance := r.sidecar.Drained()
	verdict := r.oracle.Judge()
	for _, v := range verdict.Violations[:min(len(verdict.Violations), 10)] {
		r.t.Errorf("%s: %s", v.Invariant, v.Text)
	}
	r.checkBalance(balance, verdict)
	slices.Sort(r.ready)
	r.t.Logf("%d faults; %d sent, %d acked, %d stored, %d redelivered, %d violations; %d torn tails cut; start to ready: p50 %v, max %v",
		r.faults, verdict.Sent, verdict.Acked, verdict.Stored, verdict.Redelivered, len(verdict.Violations),
		strings.Count(r.sidecar.Log.String(), "of a torn tail that was never acknowledged"),
		r.ready[len(r.ready)/2].Round(time.Millisecond), r.ready[len(r.ready)-1].Round(time.Millisecond))
}

// checkBalance compares, to the unit, what the sidecar says with what clients and store have seen.
func (r *rig) checkBalance(b harness.Balance, verdict harness.Verdict) {
	r.t.Helper()
	var last uint64 // every sequence up to the last one was accepted, once
	for _, c := range r.clients {
		last += c.Highest
	}
	if want := (harness.Balance{Accepted: last, Delivered: last}); b != want || uint64(verdict.Stored) != last {
		r.t.Errorf("balance %+v and %d in the store: expected %+v", b, verdict.Stored, want)
	}
}

// broken says whether the oracle has found out that the sidecar broke one of the invariants.
func (r *rig) broken(invariants ...string) bool {
	for _, v := range r.oracle.Judge().Violations {
		if slices.Contains(invariants, v.Invariant) {
			r.t.Logf("caught after %d faults: %s: %s", r.faults, v.Invariant, v.Text)
			return true
		}
	}
	return false
}
