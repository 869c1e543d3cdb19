package integration

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// Ten sessions together send a thousand observations a second for ten seconds.
const (
	delaySessions = 10
	delayEach     = 1000 // observations of each session
	delayPause    = 10 * time.Millisecond
	delayRounds   = 3
)

// delays measures how long each observation is on its way from the client to the store.
type delays struct {
	mu   sync.Mutex
	sent map[harness.Observation]time.Time
	took map[string][]time.Duration // by session
}

func (d *delays) depart(of harness.Observation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent[of] = time.Now()
}

func (d *delays) arrive(of harness.Observation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, first := d.sent[of]; first {
		delete(d.sent, of)
		d.took[of.Session] = append(d.took[of.Session], time.Since(at))
	}
}

// worst returns the 99th percentile and the greatest delay of the sessions for which keep says yes.
func (d *delays) worst(keep func(session string) bool) (p99, most time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []time.Duration
	for name, took := range d.took {
		if keep(name) {
			all = append(all, took...)
		}
	}
	slices.Sort(all)
	return all[len(all)*99/100], all[len(all)-1]
}

func delaySession(n int) string { return fmt.Sprintf("speaker-%d", n) }

// measureDelays runs the load against a store that fails one in a thousand with a code; codes.OK fails none. Those that fail
// are all of the first session.
func measureDelays(t *testing.T, code codes.Code) *delays {
	t.Helper()
	d := &delays{sent: map[harness.Observation]time.Time{}, took: map[string][]time.Duration{}}
	f := newForwarding(t)
	fault := func(code codes.Code) harness.Faults {
		return harness.Faults{Refuse: func(e *engramv1.Episode) error {
			of, _, err := harness.ObservationIn(e)
			if err != nil {
				return status.Error(codes.InvalidArgument, err.Error())
			}
			if code != codes.OK && of.Session == delaySession(0) && of.Sequence%100 == 50 {
				return status.Error(code, "not to my taste")
			}
			d.arrive(of)
			return nil
		}}
	}
	f.store.Set(fault(code))
	var all sync.WaitGroup // waited for below
	for i := range delaySessions {
		k := newTalk(t, f.sidecar.Connect())
		f.oracle.Resumed(delaySession(i), k.init("").GetInitialSequence())
		all.Go(func() { speak(f, d, k, delaySession(i)) })
	}
	all.Wait()
	f.store.Set(fault(codes.OK)) // what is left drains
	f.sidecar.Drained()
	return d
}

// speak sends one observation after each pause, and takes the acks as they come.
func speak(f *forwarding, d *delays, k *talk, session string) {
	var acks sync.WaitGroup // waited for below
	acks.Go(func() {
		for range delayEach {
			if _, err := k.stream.Recv(); err != nil {
				f.t.Error(err)
				return
			}
		}
	})
	tick := time.NewTicker(delayPause)
	defer tick.Stop()
	for n := uint64(1); n <= delayEach; n++ {
		<-tick.C
		of := harness.Observation{Session: session, Sequence: n}
		e := harness.EpisodeOf(of)
		f.oracle.Sent(of, harness.DigestOf(e))
		d.depart(of)
		if err := k.stream.Send(observe(n, e)); err != nil {
			f.t.Error(err)
			break
		}
	}
	acks.Wait()
}

// TestPoisonDelays measures what one in a thousand that the store refuses costs the others, beside a run where it refuses
// none. Proxy/forward has the same in a time of its own (TestOneInAThousandDelaysNobody); this is the whole way, on this machine.
func TestPoisonDelays(t *testing.T) {
	if os.Getenv("NIGHTLY") != "1" {
		t.Skip("two minutes of load: NIGHTLY=1 runs it")
	}
	const limit = time.Second
	everybody := func(string) bool { return true }
	others := func(session string) bool { return session != delaySession(0) }
	for _, row := range []struct {
		name string
		code codes.Code
		keep func(string) bool
	}{
		{"none refused", codes.OK, everybody},
		{"one in a thousand refused for good", codes.InvalidArgument, everybody},
		{"one in a thousand fails each time, the other sessions", codes.Internal, others},
	} {
		var worst []time.Duration
		for range delayRounds {
			d := measureDelays(t, row.code)
			p99, most := d.worst(row.keep)
			t.Logf("%s: p99 %v, max %v", row.name, p99.Round(100*time.Microsecond), most.Round(100*time.Microsecond))
			worst = append(worst, most)
			if row.code == codes.Internal {
				p99, most := d.worst(func(session string) bool { return !others(session) })
				t.Logf("its own session: p99 %v, max %v", p99.Round(time.Millisecond), most.Round(time.Millisecond))
			}
		}
		slices.Sort(worst)
		if median := worst[delayRounds/2]; median > limit {
			t.Errorf("%s: the slowest took %v in the median of %d rounds, expected at most %v", row.name, median, delayRounds, limit)
		}
	}
}
