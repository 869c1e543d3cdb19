package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetricsTellTheStatus(t *testing.T) {
	f := start(t, sample)
	body := f.ask(t, "GET", "/metrics").body
	for _, line := range []string{
		`engram_sidecar_build_info{go_version="go1.26",revision="abc",store="embedded",version="v1.2.3"} 1`,
		`engram_sidecar_serving 1`,
		`engram_sidecar_accepted_total 100`,
		`engram_sidecar_acked_total 90`,
		`engram_sidecar_delivered_total 60`,
		`engram_sidecar_dead_letters 8`,
		`engram_sidecar_dropped_total 4`,
		`engram_sidecar_damaged_total 3`,
		`engram_sidecar_pending 25`,
		`engram_sidecar_refused_total{reason="sequence"} 7`,
		`engram_sidecar_sessions 5`,
		`engram_sidecar_streams 2`,
		`engram_sidecar_lane_depth{lane="high"} 1`,
		`engram_sidecar_lane_depth{lane="normal"} 20`,
		`engram_sidecar_lane_capacity{lane="low"} 30`,
		`engram_sidecar_oldest_undelivered_seconds 1.25`,
		`engram_sidecar_journal_bytes 4096`,
		`engram_sidecar_journal_quota_bytes 8192`,
		`engram_sidecar_journal_generations 3`,
		`engram_sidecar_journal_pressure_ratio 0.5`,
		`engram_sidecar_store_up 1`,
		`engram_sidecar_store_breaker{state="closed"} 1`,
		`engram_sidecar_store_breaker{state="open"} 0`,
		`engram_sidecar_redelivered_total 9`,
		`engram_sidecar_dead_total 16`,
		`engram_sidecar_store_in_flight 14`,
		`engram_sidecar_store_parked 15`,
		`engram_sidecar_connections 6`,
		`engram_sidecar_sessions_expired_total 11`,
		`engram_sidecar_panics_total 13`,
		`engram_sidecar_recovery_sessions 5`,
		`engram_sidecar_recovery_pending 25`,
		`engram_sidecar_recovery_ledger_rebuilt 0`,
		`engram_sidecar_recovery_seconds 0.25`,
		`engram_sidecar_recovery_damages 1`,
		`engram_sidecar_recovery_torn_bytes 17`,
		`engram_sidecar_recovery_lost_records 18`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, name := range []string{"go_goroutines ", "process_open_fds "} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("no metric %s", name)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

func TestNoCounterFallsWhileRecovering(t *testing.T) {
	f := start(t, func() Status { return Status{State: StateRecovering} })
	body := f.ask(t, "GET", "/metrics").body
	if !strings.Contains(body, "\nengram_sidecar_serving 0\n") {
		t.Errorf("serving is not 0:\n%s", body)
	}
	if strings.Contains(body, "engram_sidecar_accepted_total") {
		t.Error("accepted_total was offered before it was known")
	}
	f.SetStatus(sample)
	if body := f.ask(t, "GET", "/metrics").body; !strings.Contains(body, "\nengram_sidecar_accepted_total 100\n") {
		t.Error("accepted_total is missing after recovery")
	}
}

func TestWhatIsCountedAsItHappens(t *testing.T) {
	m := NewMetrics()
	m.Acked(3, 2*time.Millisecond)
	m.Acked(1, 4*time.Millisecond)
	m.Committed(8, time.Millisecond)
	m.Refused("paused")
	m.Refused("of a client's own making")
	if got := m.AckedTotal(); got != 4 {
		t.Errorf("acked %d, want 4", got)
	}
	totals := m.RefusedTotals()
	if len(totals) != len(Reasons) || totals["paused"] != 1 || totals["other"] != 1 || totals["invalid"] != 0 {
		t.Errorf("refused %v", totals)
	}
	for name, c := range map[string]int{"ack_latency_seconds": 1, "journal_fsync_seconds": 1, "journal_batch_records": 1} {
		if n, err := testutil.GatherAndCount(m.registry, namespace+"_"+name); err != nil || n != c {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
}

func TestCountingDoesNotAllocate(t *testing.T) {
	m := NewMetrics()
	n := testing.AllocsPerRun(100, func() {
		m.Acked(1, time.Millisecond)
		m.Committed(1, time.Millisecond)
		m.Refused("sequence")
	})
	if n != 0 {
		t.Errorf("%v allocations on the way of an ack, want 0", n)
	}
}

func TestMetricsAreWellNamed(t *testing.T) {
	m := NewMetrics()
	New(nil, m, sample)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, namespace) {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
