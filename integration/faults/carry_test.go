package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/faults/faultfs"
	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// TestFaultCarriedForward cuts the power at the nth call from when generations can be released on, for each n until all are:
// while what only they can tell is carried forward, told released, deleted, and the ledger written. An idle session, a closed
// one, a dead letter and every count are there after the cut, with the ledger and, at every other n, without it. CI takes
// every seventh. (T4, T9, B2)
func TestFaultCarriedForward(t *testing.T) {
	for _, percent := range []int{0, 50} {
		t.Run(fmt.Sprintf("%d%%", percent), func(t *testing.T) {
			t.Parallel()
			step, last := sized(4, 1), 0
			for nth := 1; ; nth += step {
				reached := false
				t.Run(fmt.Sprint(nth), func(t *testing.T) { reached = cutCarrying(t, nth, percent) })
				if !reached || t.Failed() {
					break
				}
				last = nth
			}
			t.Logf("cut at every %d. call of %d", step, last)
			if last < 12 {
				t.Errorf("only %d calls were reached: nothing was carried", last)
			}
		})
	}
}

// carried is a life that ends with old generations to be released.
type carried struct {
	t       *testing.T
	disk    *strict
	store   *harness.Engram
	sidecar *harness.Sidecar
	idle    *speaker // three observations, the second of which is a dead letter
	closed  *speaker // two, and closed
	busy    *speaker // what fills the generations
}

// cutCarrying is one life and one cut. It says whether the nth call was reached.
func cutCarrying(t *testing.T, nth, percent int) (reached bool) {
	c := newCarried(t)
	random := newRandom(t)
	calls := 0
	image := c.disk.fs.Cut(func(faultfs.Op, string) bool { calls++; return calls == nth }, chance(random, percent))
	c.store.Start()
	deadline := time.After(harness.Patience)
	for !reached {
		select {
		case img := <-image:
			c.sidecar.Kill()
			c.disk.restore(img)
			reached = true
			continue
		case <-deadline:
			t.Fatal("generations were not released")
		case <-time.After(10 * time.Millisecond):
		}
		if st, err := c.sidecar.Status(); err == nil && st.Balance.Pending == 0 && st.Journal.Generations <= 1 {
			break
		}
	}
	if !reached {
		c.disk.fs.Cut(func(faultfs.Op, string) bool { return false }, faultfs.Nothing) // the power stays on
		c.sidecar.Kill()
	}
	if nth%2 == 0 {
		c.loseLedger()
	}
	c.sidecar.Start()
	c.judge()
	return reached
}

func newCarried(t *testing.T) *carried {
	t.Helper()
	c := &carried{t: t, disk: newStrict(t, tiny), store: harness.NewEngram(t, nil)}
	c.store.Arrived = map[harness.Observation]bool{}
	c.store.Set(harness.Faults{Refuse: func(e *engramv1.Episode) error {
		if of, _, err := harness.ObservationIn(e); err == nil && of.Session == "idle" && of.Sequence == 2 {
			return status.Error(codes.InvalidArgument, "poison")
		}
		return nil
	}})
	c.sidecar = harness.NewSidecar(t, harness.Binary(t), "--store", "engram://"+c.store.Address)
	c.sidecar.Dir = c.disk.dir()
	c.sidecar.Start()
	c.idle, c.closed, c.busy = c.speak("idle", 3), c.speak("closed", 2), c.speak("busy", 0)
	c.closed.send(&engramv1.ObservationRequest{Operation: &engramv1.ObservationRequest_Close{Close: &engramv1.StreamClose{}}})
	if state := c.closed.answer().GetStatus().GetState(); state != engramv1.StreamStatus_STATE_CLOSED {
		t.Fatalf("close was answered with %v", state)
	}
	c.sidecar.Drained()
	c.store.Stop()
	for range 70 { // two generations and more
		c.busy.observe()
	}
	return c
}

func (c *carried) speak(name string, observations int) *speaker {
	c.t.Helper()
	p, err := trySpeaker(c.t, c.sidecar, harness.NewOracle(), name)
	if err != nil {
		c.t.Fatal(err)
	}
	for range observations {
		p.observe()
	}
	return p
}

// loseLedger takes the ledger's file away between two lives.
func (c *carried) loseLedger() {
	c.t.Helper()
	for _, path := range glob(c.t, c.sidecar.Dir, "ledger.db") {
		remove(c.t, nil, path)
	}
}

// judge looks for everything that was promised.
func (c *carried) judge() {
	c.t.Helper()
	b := c.sidecar.Drained()
	all := c.idle.acked + c.closed.acked + c.busy.acked
	if want := (harness.Balance{Accepted: all, Delivered: all - 1, Dead: 1}); b != want {
		c.t.Errorf("balance %+v, expected %+v", b, want)
	}
	stored := c.store.Holds()
	for _, p := range []*speaker{c.idle, c.closed, c.busy} {
		for n := uint64(1); n <= p.acked; n++ {
			if of := (harness.Observation{Session: p.name, Sequence: n}); !stored[of] && (p != c.idle || n != 2) {
				c.t.Errorf("%v was acked, and is not in the store", of)
			}
		}
	}
	if at, err := c.resume(c.idle); err != nil || at != 3 {
		c.t.Errorf("the idle session is resumed at %d, %v; expected 3", at, err)
	}
	if at, err := c.resume(c.busy); err != nil || at != c.busy.acked {
		c.t.Errorf("the busy session is resumed at %d, %v; expected %d", at, err, c.busy.acked)
	}
	if _, err := c.resume(c.closed); status.Code(err) != codes.FailedPrecondition {
		c.t.Errorf("the closed session is resumed with %v; expected FAILED_PRECONDITION", err)
	}
	if code := c.sidecar.Stop(); code != 0 {
		c.t.Errorf("exit code %d", code)
	}
	out, err := harness.Command(c.t, c.sidecar.Bin, "journal", "export", "--dead", "--data-dir", c.sidecar.Dir).Output()
	if err != nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), harness.Observation{Session: "idle", Sequence: 2}.String()) {
		c.t.Errorf("dead letters %s, %v; expected the second of the idle session", out, err)
	}
}

// resume opens a stream for a session and returns the sequence that the sidecar says.
func (c *carried) resume(p *speaker) (uint64, error) {
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	stream, err := engramv1.NewEngramServiceClient(c.sidecar.Connect()).ObserveStream(ctx, grpc.WaitForReady(true))
	if err != nil {
		return 0, err
	}
	request := &engramv1.ObservationRequest{SessionId: p.id, Operation: &engramv1.ObservationRequest_Init{Init: &engramv1.StreamInit{}}}
	if err := stream.Send(request); err != nil {
		return 0, err
	}
	answer, err := stream.Recv()
	return answer.GetInitAck().GetInitialSequence(), err
}
