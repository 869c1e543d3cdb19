package observe

import (
	"fmt"
	"strings"
	"time"
)

// Summary is what a run came to.
type Summary struct {
	Session     string  `json:"session"`       // its id; "" when none was opened
	Closed      bool    `json:"closed"`        // closed in good order; else it can be resumed
	LastAcked   uint64  `json:"last_acked"`    // the highest sequence the sidecar has acknowledged in the session
	Sent        uint64  `json:"sent"`          // observations sent in this run, each counted once
	Acked       uint64  `json:"acked"`         // of them acknowledged
	Resent      uint64  `json:"resent"`        // sent once more, after a lost connection or a refusal
	Skipped     uint64  `json:"skipped"`       // lines left out because they, or what was made of them, were invalid
	Known       uint64  `json:"known"`         // left out because the session had them already
	Reconnects  uint64  `json:"reconnects"`    // connections lost and regained
	Seconds     float64 `json:"seconds"`       // from the first connection to the end
	Rate        float64 `json:"rate"`          // acked a second
	P50         float64 `json:"p50_seconds"`   // from the first sending to the ack, lost connections included
	P99         float64 `json:"p99_seconds"`   //
	Interrupted bool    `json:"interrupted"`   // reading was stopped before the input's end
	Failure     string  `json:"failure"`       // why the run ended early, "" for no reason
	BytesRead   int64   `json:"bytes_read"`    //
	Store       string  `json:"store_message"` // what the sidecar said of the session's dead letters when it was drained
}

// Owed is how many were sent and not acked.
func (s Summary) Owed() uint64 { return s.Sent - s.Acked }

// String writes the summary for a person, a line for each thing that is worth one.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sent %d, acked %d, %.0f/s, ack p50 %s, p99 %s, in %s\n", s.Sent, s.Acked, s.Rate,
		short(s.P50), short(s.P99), short(s.Seconds))
	if s.Reconnects > 0 || s.Resent > 0 {
		fmt.Fprintf(&b, "connection lost and regained %d times, %d observations sent again\n", s.Reconnects, s.Resent)
	}
	if s.Known > 0 {
		fmt.Fprintf(&b, "%d observations left out: the session had them already\n", s.Known)
	}
	if s.Skipped > 0 {
		fmt.Fprintf(&b, "%d invalid lines left out\n", s.Skipped)
	}
	if s.Store != "" {
		fmt.Fprintf(&b, "%s\n", s.Store)
	}
	switch {
	case s.Session == "":
	case s.Closed:
		fmt.Fprintf(&b, "session %s, closed after observation %d\n", s.Session, s.LastAcked)
	default:
		fmt.Fprintf(&b, "session %s, open after observation %d; go on with --session %s\n", s.Session, s.LastAcked, s.Session)
	}
	return b.String()
}

func short(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}
