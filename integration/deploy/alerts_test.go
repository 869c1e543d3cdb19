package deploy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// scenario is one sidecar, the store behind it, and what is done to them.
type scenario struct {
	*testing.T
	prometheus *prometheus
	instance   string
	store      *harness.Engram
	sidecar    *harness.Sidecar
}

// cause is what makes alerts fire, and what stops them.
type cause struct {
	name   string
	alerts []string
	flags  []string // of serve
	do     func(s *scenario)
	undo   func(s *scenario)
}

var causes = []cause{
	{
		name: "outage", flags: []string{"--journal-max-bytes", "16MiB"},
		alerts: []string{"EngramSidecarStoreDown", "EngramSidecarBacklogOld", "EngramSidecarJournalFilling", "EngramSidecarFull"},
		do:     func(s *scenario) { s.store.Stop(); s.load() },
		undo:   func(s *scenario) { s.store.Start() },
	},
	{
		name: "lane", flags: []string{"--lane-capacity", "0,50,0"}, alerts: []string{"EngramSidecarLaneFilling", "EngramSidecarFull"},
		do:   func(s *scenario) { s.store.Stop(); s.load(); s.remember() },
		undo: func(s *scenario) { s.store.Start() },
	},
	{
		name: "death", alerts: []string{"EngramSidecarDown"},
		do:   func(s *scenario) { s.sidecar.Kill() },
		undo: func(s *scenario) { s.sidecar.Start() },
	},
	{
		name: "restarts", alerts: []string{"EngramSidecarRestarting"},
		do: func(s *scenario) {
			for range 3 {
				before := s.startedAt()
				s.sidecar.Kill()
				s.sidecar.Start()
				s.prometheus.await(s.T, "the new process to be scraped", func() (bool, string) {
					now := s.startedAt()
					return now != "" && now != before, now
				})
			}
		},
		undo: func(*scenario) {}, // it stops when a quarter of an hour has passed without another
	},
	{
		name: "long-recovery", alerts: []string{"EngramSidecarNotServing"},
		do: func(s *scenario) { // the disk takes 20 s to open the ledger
			strace := harness.Tool(s.T, "strace", "strace")
			s.sidecar.Kill()
			s.sidecar.Wrap = []string{
				strace, "-f", "-qq", "-o", os.DevNull, "-P", filepath.Join(s.sidecar.Dir, "ledger.db"),
				"-e", "inject=openat:delay_enter=20s",
			}
			s.sidecar.Exec()
		},
		undo: func(s *scenario) { s.sidecar.WaitReady() },
	},
	{
		name: "refusal", alerts: []string{"EngramSidecarDeadLetters"},
		do: func(s *scenario) {
			s.store.Set(harness.Faults{Refuse: func(*engramv1.Episode) error { return status.Error(codes.InvalidArgument, "not this") }})
			s.observe(3)
		},
		undo: func(s *scenario) { s.store.Set(harness.Faults{}) }, // and it stops when a quarter of an hour has passed
	},
	{
		name: "letters", flags: []string{"--dead-letters-max", "20"},
		alerts: []string{"EngramSidecarDeadLetters", "EngramSidecarDeadLettersFilling"},
		do: func(s *scenario) {
			s.store.Set(harness.Faults{Refuse: func(*engramv1.Episode) error { return status.Error(codes.InvalidArgument, "not this") }})
			s.observe(40)
		},
		undo: func(s *scenario) {
			s.store.Set(harness.Faults{})
			s.sidecar.Await("all dead letters to be replayed", func() (bool, error) {
				err := harness.Command(s.T, s.sidecar.Bin, "deadletters", "replay", "--all", "--admin", s.sidecar.Admin()).Run()
				b, statusErr := s.sidecar.Balance()
				return err == nil && b.Dead == 0 && b.Pending == 0, statusErr
			})
		},
	},
	{
		name: "store", flags: []string{"--store", "embedded", "--embedded-max-memories", "100"}, alerts: []string{"EngramSidecarStoreFilling"},
		do: func(s *scenario) { s.observe(100) },
		undo: func(s *scenario) {
			s.sidecar.Stop()
			s.sidecar.Flags = []string{"--store", "embedded", "--embedded-max-memories", "1000000"}
			s.sidecar.Start()
		},
	},
	{
		name: "rot", alerts: []string{"EngramSidecarDamage"},
		do: func(s *scenario) {
			s.store.Stop()
			s.observe(20)
			s.sidecar.Kill()
			harness.Spoil(s.T, s.sidecar.Dir, harness.Observation{Session: s.instance, Sequence: 7})
			s.sidecar.Start()
		},
		undo: func(s *scenario) { // what is readable is delivered; the next start finds nothing new
			s.store.Start()
			s.sidecar.Drained()
			s.sidecar.Stop()
			s.sidecar.Start()
		},
	},
	{
		name: "slow-disk", alerts: []string{"EngramSidecarAcksSlow"},
		do: func(s *scenario) {
			strace := harness.Tool(s.T, "strace", "strace")
			s.sidecar.Kill()
			s.sidecar.Wrap = []string{
				strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=fsync,fdatasync",
				"-e", "inject=fsync,fdatasync:delay_enter=700ms",
			}
			s.sidecar.Start()
			s.load()
		},
		undo: func(s *scenario) { s.sidecar.Kill(); s.sidecar.Wrap = nil; s.sidecar.Start() },
	},
}

// TestEachAlertFiresAndStops does to sidecars what the alerts are about, under a real Prometheus to which minutes are seconds.
func TestEachAlertFiresAndStops(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute and a half; -short leaves it out")
	}
	p := startPrometheus(t)
	told := []string{"EngramSidecarBalanceUneven"} // has its own test below
	for _, c := range causes {
		told = append(told, c.alerts...)
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScenario(t, p, c.name, c.flags)
			p.quiet(t, c.name)
			c.do(s)
			p.fires(t, c.name, c.alerts...)
			c.undo(s)
			p.quiet(t, c.name)
		})
	}
	t.Run("uneven", func(t *testing.T) {
		t.Parallel()
		testUneven(t, p)
	})
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !slices.Contains(told, found[1]) {
			t.Errorf("nothing here makes %s fire: add its cause", found[1])
		}
	}
}

// testUneven: no fault is known that makes the balance uneven, so the answer of a real sidecar is altered on its way.
func testUneven(t *testing.T, p *prometheus) {
	s := newScenario(t, p, "even", nil)
	s.observe(5)
	s.sidecar.Drained()
	var alter atomic.Bool
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer, err := s.sidecar.Get("/metrics")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		text := string(answer.Text)
		if alter.Load() {
			text = strings.Replace(text, "\nengram_sidecar_pending 0\n", "\nengram_sidecar_pending 1\n", 1)
		}
		_, _ = fmt.Fprint(w, text) // Prometheus may have gone
	}))
	t.Cleanup(between.Close)
	p.watch(t, "uneven", strings.TrimPrefix(between.URL, "http://"))
	p.quiet(t, "uneven")
	alter.Store(true)
	p.fires(t, "uneven", "EngramSidecarBalanceUneven")
	alter.Store(false)
	p.quiet(t, "uneven")
}

// newScenario starts a store and a sidecar before it, and has them scraped.
func newScenario(t *testing.T, p *prometheus, instance string, flags []string) *scenario {
	t.Helper()
	s := &scenario{T: t, prometheus: p, instance: instance, store: harness.NewEngram(t, nil)}
	s.sidecar = harness.NewSidecar(t, harness.Binary(t), append([]string{"--store", "engram://" + s.store.Address}, flags...)...)
	s.sidecar.Start()
	p.watch(t, instance, s.sidecar.Admin())
	return s
}

func (s *scenario) startedAt() string {
	return s.prometheus.value(fmt.Sprintf("process_start_time_seconds{instance=%q}", s.instance))
}

// observe sends so many observations, and more while they are acked.
func (s *scenario) observe(count uint64) {
	s.Helper()
	end := s.load()
	s.sidecar.Await("acks", func() (bool, error) {
		b, err := s.sidecar.Balance()
		return b.Accepted >= count, err
	})
	end()
}

// remember writes, refused or not, until the test ends.
func (s *scenario) remember() {
	rpc := engramv1.NewEngramServiceClient(s.sidecar.Connect())
	ctx, cancel := context.WithCancel(s.Context())
	var wait sync.WaitGroup
	wait.Go(func() { // ends with ctx
		for n := uint64(1); ctx.Err() == nil; n++ {
			e := harness.EpisodeOf(harness.Observation{Session: "remember", Sequence: n})
			_, _ = rpc.Remember(ctx, &engramv1.RememberRequest{MemoryType: &engramv1.RememberRequest_Episode{Episode: e}}) // it may be refused
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	s.Cleanup(func() { cancel(); wait.Wait() })
}

// load observes until it is ended, or the test is.
func (s *scenario) load() (end func()) {
	oracle := harness.NewOracle()
	client := &harness.Client{Name: s.instance, Conn: s.sidecar.Connect(), Oracle: oracle, Window: 8}
	ctx, cancel := context.WithCancel(s.Context())
	var wait sync.WaitGroup
	wait.Go(func() { _ = client.Run(ctx, nil) }) // ends with ctx; what it was told is not the matter here
	end = func() { cancel(); wait.Wait() }
	s.Cleanup(end)
	return end
}
