package admin

import "time"

// State says where the sidecar stands in its life.
type State string

// The states, in the order in which a process passes through them.
const (
	StateRecovering State = "recovering" // reading the data directory; no stream is served yet
	StateServing    State = "serving"    // the normal state, whether or not the store can be reached
	StateDraining   State = "draining"   // no new session is taken, all else goes on; ends when it is told to
	StateStopping   State = "stopping"   // a clean stop: acks in flight are finished, new streams refused
)

// Status is what /api/status answers, and what the metrics are drawn from. Counters are cumulative over the life of the
// data directory unless their comment says "since the start". Times are RFC 3339 in UTC, durations seconds, sizes bytes.
type Status struct {
	State     State     `json:"state"`
	Build     Build     `json:"build"`
	StartedAt time.Time `json:"started_at"`
	Uptime    float64   `json:"uptime_seconds"`
	Listen    string    `json:"listen"`       // where gRPC is served: host:port or unix:///path
	Admin     string    `json:"admin_listen"` // where this answer came from
	DataDir   string    `json:"data_dir"`

	Balance  Balance  `json:"balance"`
	Edge     Edge     `json:"edge"`
	Lanes    []Lane   `json:"lanes"` // high, normal, low; empty while recovering
	Letters  Letters  `json:"dead_letters"`
	Journal  Journal  `json:"journal"`
	Store    Store    `json:"store"`
	Recovery Recovery `json:"recovery"`
}

// Build says which program answers.
type Build struct {
	Version   string `json:"version"`    // a release's tag, or "devel"
	Revision  string `json:"revision"`   // the commit, "" where it is not known
	GoVersion string `json:"go_version"` // the toolchain that built it
}

// Balance says where every accepted record is: Accepted = Delivered + Pending + Dead + Dropped + Damaged, always.
type Balance struct {
	Accepted  uint64 `json:"accepted"`  // durable in the journal
	Delivered uint64 `json:"delivered"` // confirmed by the store
	Pending   uint64 `json:"pending"`   // accepted, its fate still open
	Dead      uint64 `json:"dead"`      // refused by the store for good and kept as dead letters
	Dropped   uint64 `json:"dropped"`   // given up by an operator
	Damaged   uint64 `json:"damaged"`   // lost to a rotten disk, reported by session and sequence
}

// Holds says that the balance is even.
func (b Balance) Holds() bool {
	return b.Accepted == b.Delivered+b.Pending+b.Dead+b.Dropped+b.Damaged
}

// Edge is what clients do here and now.
type Edge struct {
	Sessions  int               `json:"sessions"`    // open sessions, connected or resumable
	Streams   int               `json:"streams"`     // observation streams connected now
	Conns     int               `json:"connections"` // of clients
	Expired   uint64            `json:"expired"`     // sessions forgotten after their timeout, since the start
	Panics    uint64            `json:"panics"`      // calls that failed inside the sidecar, since the start
	Cancelled uint64            `json:"cancelled"`   // calls that their clients took back, since the start
	Slowed    uint64            `json:"slowed"`      // times that a connection was read more slowly for that, since the start
	Paced     uint64            `json:"paced"`       // times that a stream was read more slowly, since its messages bring nothing durable, since the start
	Acked     uint64            `json:"acked"`       // observations and writes acknowledged, since the start
	Refused   map[string]uint64 `json:"refused"`     // observations and writes refused by reason, since the start
}

// Lane is one priority's queue.
type Lane struct {
	Name     string `json:"name"`     // high, normal or low
	Depth    int    `json:"depth"`    // records waiting to be taken for the store
	Capacity int    `json:"capacity"` // the lane's own limit in records; 0 means only the journal's quota bounds it
}

// Letters is what is kept of dead letters, and what bounds it: at either bound delivery waits until some are settled.
type Letters struct {
	Count    int   `json:"count"`
	Bytes    int64 `json:"bytes"`
	MaxCount int   `json:"max_count"` // 0 is no limit
	MaxBytes int64 `json:"max_bytes"`
}

// Full says that no more are taken.
func (l Letters) Full() bool {
	return l.Count > 0 && (l.MaxCount > 0 && l.Count >= l.MaxCount || l.MaxBytes > 0 && l.Bytes >= l.MaxBytes)
}

// Journal is what is kept on disk, and how much more fits.
type Journal struct {
	Generations int     `json:"generations"` // directories on disk
	Bytes       uint64  `json:"bytes"`       // used by them
	Quota       uint64  `json:"quota_bytes"` // where writes are refused
	Pressure    float64 `json:"pressure"`    // 0 to 1: how near the quota or the disk reserve is; at 1 writes are refused
	LastIndex   uint64  `json:"last_index"`  // the newest durable record
	Commits     uint64  `json:"commits"`     // group commits, since the start
	Failure     string  `json:"failure"`     // a storage failure that ends the process, "" for none
}

// Store is the forwarder's view of the store behind the sidecar.
type Store struct {
	Kind      string    `json:"kind"`           // embedded or engram
	Address   string    `json:"address"`        // where it is, "" for embedded
	Up        bool      `json:"up"`             // nothing has failed since it last took a record; false while the breaker is not closed
	Breaker   string    `json:"breaker"`        // closed, half-open or open
	Stored    uint64    `json:"stored"`         // records in an embedded store; 0 where only the store itself knows
	Rows      uint64    `json:"rows"`           // in an embedded store, with superseded versions, whose place compact gives back
	Limit     uint64    `json:"limit"`          // rows an embedded store takes, or is meant for
	Near      bool      `json:"near_limit"`     // it holds at least 80 % of that
	Since     time.Time `json:"since"`          // when the breaker left closed, or came back to it; zero before the first time
	InFlight  int       `json:"in_flight"`      // records with the store now
	Parked    int       `json:"parked"`         // records that wait for their own next try
	Retries   uint64    `json:"retries"`        // deliveries tried again, since the start
	Buried    uint64    `json:"buried"`         // records the store refused for good, since the start
	Rate      float64   `json:"rate"`           // records delivered a second, lately
	Oldest    float64   `json:"oldest_seconds"` // how long the oldest undelivered record has waited
	LastError string    `json:"last_error"`     // the last failure, "" for none
}

// Recovery is what the start found in the data directory.
type Recovery struct {
	Duration float64  `json:"duration_seconds"`
	Sessions int      `json:"sessions"`   // sessions that can be resumed
	Pending  uint64   `json:"pending"`    // records queued again
	TornTail uint64   `json:"torn_bytes"` // cut off the journal's end: never acknowledged
	Rebuilt  bool     `json:"rebuilt"`    // the ledger was lost or damaged and rebuilt from the journal
	Lost     uint64   `json:"lost"`       // acknowledged records that this start was the first to find damaged
	Damages  []Damage `json:"damages"`    // acknowledged records that were lost
}

// Damage names acknowledged records that a rotten disk took.
type Damage struct {
	Place   string `json:"place"`   // file and offset, or the journal indexes
	Session string `json:"session"` // "" where not even that can be told
	First   uint64 `json:"first"`   // the first and last sequence lost
	Last    uint64 `json:"last"`
	Reason  string `json:"reason"`
}
