package admin

import (
	"github.com/prometheus/client_golang/prometheus"
)

// collector draws metrics from one Status a scrape. While the sidecar recovers it offers only what is known then, so that
// no counter falls to zero and jumps back.
type collector struct{ status func() Status }

// The metrics that are drawn from a Status.
var (
	buildInfo = desc("build_info", "Always 1; the labels say which program this is and which kind of store it feeds.", "version", "revision", "go_version", "store")
	ready     = desc("serving", "1 while streams are served, 0 while recovering or stopping.")

	accepted  = desc("accepted_total", "Records durable in the journal.")
	acked     = desc("acked_total", "Observations and writes acknowledged since the start of the process.")
	delivered = desc("delivered_total", "Records confirmed by the store.")
	buried    = desc("dead_total", "Records refused by the store for good since the start of the process.")
	dead      = desc("dead_letters", "Dead letters kept now: records that the store refused for good.")
	deadBytes = desc("dead_letters_bytes", "What dead letters take, about.")
	deadMost  = desc("dead_letters_max", "Dead letters that may be kept; at it delivery waits. 0 means no limit.")
	deadRoom  = desc("dead_letters_max_bytes", "Bytes that dead letters may take; at it delivery waits. 0 means no limit.")
	dropped   = desc("dropped_total", "Records given up by an operator.")
	damaged   = desc("damaged_total", "Acknowledged records lost to a damaged disk, each reported.")
	pending   = desc("pending", "Records accepted whose fate is open.")
	refused   = desc("refused_total", "Observations and writes refused since the start of the process.", "reason")

	sessions  = desc("sessions", "Open sessions, connected or resumable.")
	streams   = desc("streams", "Observation streams connected.")
	conns     = desc("connections", "Connections of clients.")
	expired   = desc("sessions_expired_total", "Sessions forgotten after their timeout, since the start of the process.")
	cancelled = desc("calls_cancelled_total", "Calls that their clients took back since the start of the process.")
	slowed    = desc("connections_slowed_total", "Times that a connection was read more slowly because its client took back calls faster than it may.")
	paced     = desc("streams_slowed_total", "Times that a stream was read more slowly because its messages bring nothing durable.")
	panics    = desc("panics_total", "Calls that failed inside the sidecar since the start of the process; each is logged.")

	laneDepth    = desc("lane_depth", "Records waiting in a lane.", "lane")
	laneCapacity = desc("lane_capacity", "A lane's own limit in records; 0 means none.", "lane")
	oldest       = desc("oldest_undelivered_seconds", "How long the oldest undelivered record has waited.")

	journalBytes       = desc("journal_bytes", "Bytes the journal uses on disk.")
	journalQuota       = desc("journal_quota_bytes", "Bytes at which writes are refused.")
	journalGenerations = desc("journal_generations", "Generations of the journal on disk.")
	journalPressure    = desc("journal_pressure_ratio", "How near the quota or the disk reserve is; at 1 writes are refused.")

	storeUp      = desc("store_up", "1 while the store takes records, 0 while the breaker is open or probing.")
	storeBreaker = desc("store_breaker", "1 for the breaker's present state, 0 for the others.", "state")
	storeFlight  = desc("store_in_flight", "Records with the store now.")
	storeParked  = desc("store_parked", "Records that wait for their own next try, or behind one of their session that does.")
	storeStored  = desc("store_memories", "Memories in the embedded store.")
	storeRows    = desc("store_rows", "Rows of the embedded store: memories, and superseded versions until it is compacted.")
	storeLimit   = desc("store_rows_limit", "Rows the embedded store takes, or is meant for where nothing limits it.")
	redelivered  = desc("redelivered_total", "Deliveries that were tried again since the start of the process.")

	recoverySeconds = desc("recovery_seconds", "How long the last start took to recover.")
	recoverySession = desc("recovery_sessions", "Sessions the last start found that can be resumed.")
	recoveryPending = desc("recovery_pending", "Records the last start found undelivered and queued again.")
	recoveryRebuilt = desc("recovery_ledger_rebuilt", "1 where the last start built the ledger anew from the journal.")
	recoveryDamages = desc("recovery_damages", "Damages the last start found.")
	recoveryLost    = desc("recovery_lost_records", "Acknowledged records that the last start was the first to find damaged.")
	recoveryTorn    = desc("recovery_torn_bytes", "Bytes cut off the journal's end at the last start; never acknowledged.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

// Describe sends nothing: the set depends on the state, and the registry checks it at each scrape.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.status()
	gauge(out, buildInfo, 1, s.Build.Version, s.Build.Revision, s.Build.GoVersion, s.Store.Kind)
	gauge(out, ready, truth(s.State == StateServing))
	if s.State == StateRecovering {
		return
	}
	collectBalance(out, s)
	collectEdge(out, s.Edge)
	collectLanes(out, s)
	collectJournal(out, s.Journal)
	collectStore(out, s.Store)
	collectRecovery(out, s.Recovery)
}

func collectBalance(out chan<- prometheus.Metric, s Status) {
	counter(out, accepted, s.Balance.Accepted)
	counter(out, delivered, s.Balance.Delivered)
	counter(out, buried, s.Store.Buried)
	gauge(out, dead, float64(s.Balance.Dead))
	gauge(out, deadBytes, float64(s.Letters.Bytes))
	gauge(out, deadMost, float64(s.Letters.MaxCount))
	gauge(out, deadRoom, float64(s.Letters.MaxBytes))
	counter(out, dropped, s.Balance.Dropped)
	counter(out, damaged, s.Balance.Damaged)
	gauge(out, pending, float64(s.Balance.Pending))
}

func collectEdge(out chan<- prometheus.Metric, e Edge) {
	counter(out, acked, e.Acked)
	for reason, n := range e.Refused {
		counter(out, refused, n, reason)
	}
	gauge(out, sessions, float64(e.Sessions))
	gauge(out, streams, float64(e.Streams))
	gauge(out, conns, float64(e.Conns))
	counter(out, expired, e.Expired)
	counter(out, panics, e.Panics)
	counter(out, cancelled, e.Cancelled)
	counter(out, slowed, e.Slowed)
	counter(out, paced, e.Paced)
}

func collectLanes(out chan<- prometheus.Metric, s Status) {
	for _, l := range s.Lanes {
		gauge(out, laneDepth, float64(l.Depth), l.Name)
		gauge(out, laneCapacity, float64(l.Capacity), l.Name)
	}
	gauge(out, oldest, s.Store.Oldest)
}

func collectJournal(out chan<- prometheus.Metric, j Journal) {
	gauge(out, journalBytes, float64(j.Bytes))
	gauge(out, journalQuota, float64(j.Quota))
	gauge(out, journalGenerations, float64(j.Generations))
	gauge(out, journalPressure, j.Pressure)
}

func collectStore(out chan<- prometheus.Metric, s Store) {
	gauge(out, storeUp, truth(s.Up))
	for _, state := range []string{"closed", "half-open", "open"} {
		gauge(out, storeBreaker, truth(s.Breaker == state), state)
	}
	gauge(out, storeFlight, float64(s.InFlight))
	gauge(out, storeParked, float64(s.Parked))
	if s.Kind == "embedded" {
		gauge(out, storeStored, float64(s.Stored))
		gauge(out, storeRows, float64(s.Rows))
		gauge(out, storeLimit, float64(s.Limit))
	}
	counter(out, redelivered, s.Retries)
}

func collectRecovery(out chan<- prometheus.Metric, r Recovery) {
	gauge(out, recoverySeconds, r.Duration)
	gauge(out, recoverySession, float64(r.Sessions))
	gauge(out, recoveryPending, float64(r.Pending))
	gauge(out, recoveryRebuilt, truth(r.Rebuilt))
	gauge(out, recoveryDamages, float64(len(r.Damages)))
	gauge(out, recoveryLost, float64(r.Lost))
	gauge(out, recoveryTorn, float64(r.TornTail))
}

func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(out chan<- prometheus.Metric, d *prometheus.Desc, v uint64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
