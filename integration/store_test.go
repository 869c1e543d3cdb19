package integration

import (
	"context"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// forwarding is a sidecar in front of a fake Engram store, one session's worth of observations, and the oracle.
type forwarding struct {
	t       *testing.T
	oracle  *harness.Oracle
	store   *harness.Engram
	sidecar *harness.Sidecar
}

func newForwarding(t *testing.T, flags ...string) *forwarding {
	t.Helper()
	f := &forwarding{t: t, oracle: harness.NewOracle()}
	f.store = harness.NewEngram(t, f.oracle)
	f.sidecar = harness.NewSidecar(t, harness.Binary(t), append([]string{"--store", "engram://" + f.store.Address}, flags...)...)
	f.sidecar.Start()
	return f
}

// observe sends so many observations of one session and returns when all are acked.
func (f *forwarding) observe(count uint64) {
	f.t.Helper()
	f.observeAs("s", count)
}

// observeAs does so under a name of one's own.
func (f *forwarding) observeAs(session string, count uint64) {
	f.t.Helper()
	k := newTalk(f.t, f.sidecar.Connect())
	f.oracle.Resumed(session, k.init("").GetInitialSequence())
	const window = 500 // more, unread, would stop both sides
	for n := uint64(1); n <= count+window; n++ {
		if n <= count {
			of := harness.Observation{Session: session, Sequence: n}
			e := harness.EpisodeOf(of)
			f.oracle.Sent(of, harness.DigestOf(e))
			k.send(observe(n, e))
		}
		if n > window {
			f.oracle.Acked(harness.Observation{Session: session, Sequence: n - window}, k.acked(n-window).GetMemoryId())
		}
	}
}

// delivered waits until nothing is pending, and compares the end with what it should be.
func (f *forwarding) delivered(accepted, dead uint64) {
	f.t.Helper()
	b := f.sidecar.Drained()
	if want := (harness.Balance{Accepted: accepted, Delivered: accepted - dead, Dead: dead}); b != want {
		f.t.Errorf("balance %+v, expected %+v", b, want)
	}
	verdict := f.oracle.Judge()
	for _, violation := range verdict.Violations {
		f.t.Errorf("%s: %s", violation.Invariant, violation.Text)
	}
	if uint64(verdict.Stored) != accepted-dead {
		f.t.Errorf("the store holds %d, expected %d", verdict.Stored, accepted-dead)
	}
}

// refusals counts how often the fake store has refused, and lets a test wait for it.
type refusals struct {
	mu   sync.Mutex
	seen int
	more chan struct{}
}

func newRefusals() *refusals { return &refusals{more: make(chan struct{}, 1)} }

func (r *refusals) with(code codes.Code) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen++
	select {
	case r.more <- struct{}{}:
	default:
	}
	return status.Errorf(code, "refusal %d", r.seen)
}

func (r *refusals) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

func (r *refusals) wait(t *testing.T, least int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	for {
		seen := r.count()
		if seen >= least {
			return
		}
		select {
		case <-r.more:
		case <-ctx.Done():
			t.Fatalf("the store has refused %d times, expected %d", seen, least)
		}
	}
}

func TestStoreOutageCostsNothing(t *testing.T) {
	f := newForwarding(t)
	f.store.Stop()
	f.observe(500)
	if b, err := f.sidecar.Balance(); err != nil || b.Accepted != 500 || b.Pending != 500 {
		t.Errorf("balance %+v (%v), expected 500 accepted and pending", b, err)
	}
	f.store.Start()
	f.delivered(500, 0)
}

func TestPermanentRefusalIsSetAside(t *testing.T) {
	f := newForwarding(t)
	poison := harness.Observation{Session: "s", Sequence: 40}
	f.store.Set(harness.Faults{Refuse: func(e *engramv1.Episode) error {
		if e.GetWhat() != poison.String() {
			return nil
		}
		f.oracle.Refused(poison)
		return status.Error(codes.InvalidArgument, "not this one")
	}})
	f.observe(100)
	f.delivered(100, 1)
	f.sidecar.Kill()
	f.sidecar.Start()
	f.delivered(100, 1)
}

func TestDeniedBuriesNothing(t *testing.T) {
	for _, code := range []codes.Code{codes.Unauthenticated, codes.PermissionDenied, codes.NotFound} {
		t.Run(code.String(), func(t *testing.T) {
			f := newForwarding(t)
			denied := newRefusals()
			f.store.Set(harness.Faults{Refuse: func(*engramv1.Episode) error { return denied.with(code) }})
			f.observe(100)
			denied.wait(t, 4)
			f.store.Set(harness.Faults{})
			f.delivered(100, 0)
		})
	}
}

func TestTroubleWithOneHoldsItsSessionInOrder(t *testing.T) {
	f := newForwarding(t)
	trouble := newRefusals()
	f.store.Set(harness.Faults{Refuse: func(e *engramv1.Episode) error {
		if trouble.count() < 5 && e.GetWhat() == (harness.Observation{Session: "s", Sequence: 30}).String() {
			return trouble.with(codes.Internal)
		}
		return nil
	}})
	f.observe(100)
	f.delivered(100, 0)
}

func TestLostAnswersAreRedeliveredWithoutHarm(t *testing.T) {
	f := newForwarding(t)
	f.store.Set(harness.Faults{Swallow: func(taken int) bool { return taken%10 == 0 && taken < 200 }})
	f.observe(300)
	f.delivered(300, 0)
	if f.oracle.Judge().Redelivered == 0 {
		t.Error("nothing was redelivered, although answers were lost")
	}
}
