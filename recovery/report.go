package recovery

import (
	"fmt"
	"strings"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// Report says what a start found and did. It is what the first line of the log, the status and the metrics tell.
type Report struct {
	Fresh       bool          // the directory was empty
	Took        time.Duration // from taking the lock to being ready for records
	Generations int           // on disk, after the repair
	Bytes       int64         // in them
	Records     int           // read
	Sessions    int           // that can be resumed
	Balance     ledger.Balance

	Torn    *wal.DamageError // what a crash left behind the last whole frame and was cut; nil where nothing was
	Removed int              // generations whose deletion a crash had interrupted, or that never held a record
	Damages []*wal.DamageError
	Lost    uint64 // writes first found damaged by this start
	Ledger  error  // why the ledger was built anew from the journal; nil where its file was good
}

// String is the report as one clause of the line at the start.
func (r *Report) String() string {
	if r.Fresh {
		return "new data directory"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "recovered %d sessions and %d pending of %d accepted from %d generations (%d bytes) in %v",
		r.Sessions, r.Balance.Pending, r.Balance.Accepted, r.Generations, r.Bytes, r.Took.Round(time.Millisecond))
	if r.Torn != nil {
		fmt.Fprintf(&b, "; cut %d bytes of a torn tail that was never acknowledged", r.Torn.Length)
	}
	if r.Ledger != nil {
		b.WriteString("; ledger built anew")
	}
	if len(r.Damages) > 0 {
		fmt.Fprintf(&b, "; DAMAGE in %d places, %d observations lost", r.Places(), r.Lost)
	}
	return b.String()
}

// Places is in how many places there is damage: one that concerns several sessions has an entry for each in Damages.
func (r *Report) Places() int {
	type place struct {
		file   string
		offset int64
		first  uint64
	}
	places := map[place]bool{}
	for _, d := range r.Damages {
		places[place{d.File, d.Offset, d.First}] = true
	}
	return len(places)
}
