package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// letter is a dead letter as the command line prints it.
type letter struct {
	Index      uint64 `json:"index"`
	ID         string `json:"id"`
	Sequence   uint64 `json:"sequence"`
	Reason     string `json:"reason"`
	Attempts   int    `json:"attempts"`
	Superseded bool   `json:"superseded"`
}

// deadletters runs the command with a list of arguments and returns what it printed and its exit code.
func (f *forwarding) deadletters(args ...string) (string, int) {
	f.t.Helper()
	c := harness.Command(f.t, f.sidecar.Bin, append([]string{"deadletters"}, args...)...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	_ = c.Run() // the exit code is looked at
	return out.String(), c.ProcessState.ExitCode()
}

// live and offline say where the letters are.
func (f *forwarding) live() string { return "--admin=" + f.sidecar.Admin() }

func (f *forwarding) offline() string { return "--data-dir=" + f.sidecar.Dir }

func (f *forwarding) listed(args ...string) (all []letter) {
	f.t.Helper()
	out, code := f.deadletters(append([]string{"list", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		f.t.Fatalf("deadletters list %q: code %d, %v: %s", args, code, err, out)
	}
	return all
}

func (f *forwarding) mustSettle(code int, says string, args ...string) {
	f.t.Helper()
	out, got := f.deadletters(args...)
	if got != code || !strings.Contains(out, says) {
		f.t.Fatalf("deadletters %q: code %d, want %d and %q: %s", args, got, code, says, out)
	}
}

// written waits until the file that is read beside a running sidecar has so many letters: it is written four times a second.
func (f *forwarding) written(letters int) {
	f.t.Helper()
	f.sidecar.Await("the ledger's file", func() (bool, error) { return len(f.listed(f.offline())) == letters, nil })
}

// poisoned refuses every so many-th observation for good, and counts what the store is asked to take of them.
type poisoned struct {
	f     *forwarding
	every uint64

	mu      sync.Mutex
	mended  bool
	asked   map[string]int // how often each poisoned one came
	settled map[string]int // and was taken
}

func (f *forwarding) poison(every uint64) *poisoned {
	p := &poisoned{f: f, every: every, asked: map[string]int{}, settled: map[string]int{}}
	f.store.Set(harness.Faults{Refuse: p.refuse})
	return p
}

func (p *poisoned) refuse(e *engramv1.Episode) error {
	of, _, err := harness.ObservationIn(e)
	if err != nil || of.Sequence%p.every != 0 {
		return nil //nolint:nilerr // one that is not poisoned
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[e.GetWhat()]++
	if p.mended {
		p.settled[e.GetWhat()]++
		return nil
	}
	p.f.oracle.Refused(of)
	return status.Errorf(codes.InvalidArgument, "poisoned: %v is not to my taste", of)
}

func (p *poisoned) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mended = true
}

// checkLetters fails where the letters are not every so many-th observation of one session, each with the store's words.
func checkLetters(t *testing.T, got []letter, want, every uint64, attempts int) {
	t.Helper()
	if uint64(len(got)) != want {
		t.Fatalf("%d dead letters, want %d: %+v", len(got), want, got)
	}
	for i, l := range got {
		n := uint64(i+1) * every
		words := fmt.Sprintf("poisoned: s/%d is not to my taste", n)
		if l.Sequence != n || !strings.Contains(l.Reason, words) || l.Attempts != attempts || l.Superseded {
			t.Errorf("letter %+v, want sequence %d and %q after %d attempts", l, n, words, attempts)
		}
	}
}

// TestOneInAThousandPoisoned: the others are not held up, the poisoned are listed with the store's own words, survive a kill,
// and are delivered, each once, when the store is mended.
func TestOneInAThousandPoisoned(t *testing.T) {
	const count, every, dead = 4000, 1000, 4
	f := newForwarding(t)
	p := f.poison(every)
	f.observe(count)
	f.delivered(count, dead)
	checkLetters(t, f.listed(f.live()), dead, every, 1)
	f.written(dead)
	f.sidecar.Kill()
	checkLetters(t, f.listed(f.offline()), dead, every, 1)
	f.sidecar.Start()
	f.delivered(count, dead)
	checkLetters(t, f.listed(f.live()), dead, every, 1)
	checkLetters(t, f.listed(f.offline()), dead, every, 1) // beside the process that has it
	if got := f.listed(f.live(), "--reason", "S/2000 IS NOT"); len(got) != 1 || got[0].Sequence != 2000 {
		t.Errorf("by reason: %+v", got)
	}

	f.mustSettle(1, "not to my taste", "replay", "--all", f.live())
	checkLetters(t, f.listed(f.live()), dead, every, 2)
	p.mend()
	first := f.listed(f.live())[0]
	f.mustSettle(0, "delivered 1 of 1", "replay", fmt.Sprint(first.Index), f.live())
	f.mustSettle(1, "missing", "replay", fmt.Sprint(first.Index), f.live())
	f.mustSettle(0, "delivered 3 of 3", "replay", "--reason", "taste", f.live())
	f.mustSettle(0, "no dead letters", "replay", "--all", f.live())
	f.delivered(count, 0)
	for what, n := range p.settled {
		if n != 1 {
			t.Errorf("%s was stored %d times by replays", what, n)
		}
	}
	f.sidecar.Kill()
	f.sidecar.Start()
	f.delivered(count, 0)
}

// TestReplayAcrossKills kills the sidecar again and again while it replays: nothing is lost, nothing is stored under two ids,
// and the balance is right to the unit whenever somebody looks.
func TestReplayAcrossKills(t *testing.T) {
	const count, every, dead, most = 300, 3, 100, 12
	f := newForwarding(t)
	p := f.poison(every)
	f.observe(count)
	f.delivered(count, dead)
	p.mend()
	f.store.Set(harness.Faults{Refuse: p.refuse, Delay: 5 * time.Millisecond})
	random := rand.New(rand.NewPCG(1, 2))
	kills := 0
	for left := uint64(dead); left > 0; {
		done := make(chan struct{})
		go func() { // ends with the sidecar, or when all is replayed; awaited below
			defer close(done)
			_, _ = f.deadletters("replay", "--all", f.live())
		}()
		select {
		case <-done:
		case <-after(kills < most, time.Duration(20+random.IntN(300))*time.Millisecond):
			f.sidecar.Kill()
			kills++
			<-done
			f.sidecar.Start()
		}
		b := f.sidecar.Drained()
		if !b.Even() || b.Accepted != count || b.Delivered+b.Dead != count || b.Dead > left || b.Dead != uint64(len(f.listed(f.live()))) {
			t.Fatalf("balance %+v after %d kills, with %d letters listed", b, kills, len(f.listed(f.live())))
		}
		left = b.Dead
	}
	t.Logf("%d kills", kills)
	f.delivered(count, 0)
}

// after is time.After where it is wanted, else a channel that never fires.
func after(wanted bool, d time.Duration) <-chan time.Time {
	if !wanted {
		return nil
	}
	return time.After(d)
}

// TestOfflineReplayAndDrop works on the directory of a stopped sidecar, and is refused beside a running one.
func TestOfflineReplayAndDrop(t *testing.T) {
	const count, every = 100, 20
	f := newForwarding(t)
	p := f.poison(every)
	f.observe(count)
	f.delivered(count, 5)
	letters := f.listed(f.live())
	f.written(5)
	f.mustSettle(75, "ask it with --admin, or stop it first", "drop", "--all", f.offline())
	f.mustSettle(75, "ask it with --admin, or stop it first", "replay", "--all", f.offline())
	checkLetters(t, f.listed(f.offline()), 5, every, 1)
	if code := f.sidecar.Stop(); code != 0 {
		t.Fatalf("stop: code %d", code)
	}
	f.mustSettle(0, "not to my taste", "show", fmt.Sprint(letters[0].Index), f.offline())
	f.mustSettle(0, "dropped 1 of 1", "drop", fmt.Sprint(letters[0].Index), f.offline())
	to := "--store=engram://" + f.store.Address
	f.store.Stop()
	f.mustSettle(1, "the store takes nothing now", "replay", "--all", f.offline(), to)
	f.store.Start()
	p.mend()
	f.mustSettle(0, "delivered 1 of 1", "replay", "--id", letters[1].ID, f.offline(), to)
	f.mustSettle(0, "delivered 3 of 3", "replay", "--all", f.offline(), to)
	f.mustSettle(0, "no dead letters", "list", f.offline())
	f.sidecar.Start()
	if b := f.sidecar.Drained(); b != (harness.Balance{Accepted: count, Delivered: count - 1, Dropped: 1}) {
		t.Errorf("balance %+v", b)
	}
}

// TestSupersededLetter: a letter of which a newer version was accepted is not replayed, also when the generation that held
// the newer one is long gone, and the ledger with it.
func TestSupersededLetter(t *testing.T) {
	f := newForwarding(t)
	f.store = harness.NewEngram(t, nil)
	f.sidecar.Kill()
	f.sidecar.Flags = []string{"--store", "engram://" + f.store.Address}
	f.sidecar.Start()
	var mu sync.Mutex
	var taken []string
	f.store.Set(harness.Faults{Refuse: func(e *engramv1.Episode) error {
		if strings.HasPrefix(e.GetWhat(), "old") {
			return status.Error(codes.InvalidArgument, "too old for me")
		}
		mu.Lock()
		defer mu.Unlock()
		taken = append(taken, e.GetWhat())
		return nil
	}})
	k := newTalk(t, f.sidecar.Connect())
	k.init("")
	send := func(n uint64, id, what string) {
		e := harness.EpisodeOf(harness.Observation{Session: "s", Sequence: n})
		e.Id, e.What = id, what
		k.send(observe(n, e))
		k.acked(n)
	}
	send(1, "twice", "old 1")
	send(2, "once", "old 2")
	send(3, "twice", "new")
	f.sidecar.Drained()
	f.mustSettle(1, "superseded: a newer version", "replay", "--id", "twice", f.live())
	for n := uint64(4); n < 3000; n++ {
		send(n, fmt.Sprintf("filler-%d", n), "filler")
	}
	f.sidecar.Drained()
	f.sidecar.Await("the first generations given back", func() (bool, error) {
		_, err := os.Stat(filepath.Join(f.sidecar.Dir, "journal", fmt.Sprintf("g%020d", 2)))
		return os.IsNotExist(err), nil
	})
	f.sidecar.Kill()
	if err := os.Remove(filepath.Join(f.sidecar.Dir, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	f.sidecar.Start()
	f.sidecar.Drained()
	f.mustSettle(1, "superseded: a newer version", "replay", "--id", "twice", f.live())
	if got := f.listed(f.live(), "--id", "twice"); len(got) != 1 || !got[0].Superseded {
		t.Errorf("listed as %+v", got)
	}
	f.store.Set(harness.Faults{})
	f.mustSettle(1, "delivered 1 of 2", "replay", "--all", f.live())
	f.mustSettle(0, "dropped 1 of 1", "drop", "--all", f.live())
	if b := f.sidecar.Drained(); b != (harness.Balance{Accepted: 2999, Delivered: 2998, Dropped: 1}) {
		t.Errorf("balance %+v", b)
	}
}

// TestDeadLettersAreBounded: at the bound delivery waits, nothing is lost, and goes on when letters are settled.
func TestDeadLettersAreBounded(t *testing.T) {
	f := newForwarding(t)
	f.sidecar.Kill()
	f.sidecar.Flags = append(f.sidecar.Flags, "--dead-letters-max", "2")
	f.sidecar.Start()
	p := f.poison(10)
	f.observe(100)
	f.sidecar.Await("the bound", func() (bool, error) {
		b, err := f.sidecar.Balance()
		return b.Dead == 2 && strings.Contains(f.sidecar.Log.String(), "too many dead letters"), err
	})
	if b, err := f.sidecar.Balance(); err != nil || b.Pending == 0 || b.Accepted != 100 || !b.Even() {
		t.Errorf("balance %+v, %v", b, err)
	}
	f.sidecar.Kill()
	f.sidecar.Start()
	dropped := uint64(0)
	f.sidecar.Await("the rest", func() (bool, error) {
		if n := len(f.listed(f.live())); n > 0 {
			f.mustSettle(0, "dropped", "drop", "--reason", "taste", f.live())
		}
		b, err := f.sidecar.Balance()
		dropped = b.Dropped
		return b.Pending == 0 && b.Dead == 0, err
	})
	if b := f.sidecar.Drained(); dropped != 10 || b != (harness.Balance{Accepted: 100, Delivered: 90, Dropped: 10}) {
		t.Errorf("balance %+v", b)
	}
	p.mend()
}

// TestOneSessionIsNotHeldForEver: one observation fails with INTERNAL whenever it comes, and nothing but its own session is
// there to tell that from an outage. Those behind it tell.
func TestOneSessionIsNotHeldForEver(t *testing.T) {
	f := newForwarding(t)
	poison := harness.Observation{Session: "s", Sequence: 30}
	f.store.Set(harness.Faults{Refuse: func(e *engramv1.Episode) error {
		if e.GetWhat() != poison.String() {
			return nil
		}
		f.oracle.Refused(poison)
		return status.Error(codes.Internal, "panic: index out of range")
	}})
	f.observe(100)
	f.delivered(100, 1)
	if got := f.listed(f.live()); len(got) != 1 || got[0].Sequence != 30 || got[0].Attempts < 11 || !strings.Contains(got[0].Reason, "index out of range") {
		t.Errorf("letters %+v, want the 30th after ten tries and one more", got)
	}
	f.store.Set(harness.Faults{})
	f.mustSettle(0, "delivered 1 of 1", "replay", "--all", f.live())
	f.delivered(100, 0)
}
