package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

// describe writes a status for a person: one topic a line, the same topics in the same order always.
func describe(s admin.Status) string {
	var b strings.Builder
	line := func(topic, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", topic, printable(fmt.Sprintf(format, args...)))
	}
	line("sidecar", "%s, version %s, up %s, gRPC %s, data %s", s.State, s.Build.Version, seconds(s.Uptime), s.Listen, s.DataDir)
	if s.State == admin.StateRecovering {
		return b.String()
	}
	even := "even"
	if !s.Balance.Holds() {
		even = "NOT EVEN"
	}
	line("balance", "accepted %d = delivered %d + pending %d + dead %d + dropped %d + damaged %d (%s)", s.Balance.Accepted,
		s.Balance.Delivered, s.Balance.Pending, s.Balance.Dead, s.Balance.Dropped, s.Balance.Damaged, even)
	line("clients", "%d sessions, %d streams connected, %d acked since the start%s", s.Edge.Sessions, s.Edge.Streams, s.Edge.Acked, refusals(s.Edge.Refused))
	line("lanes", "%s", lanes(s.Lanes))
	if s.Letters.Count > 0 {
		line("letters", "%s", lettersLine(s.Letters))
	}
	line("journal", "%s of %s in %d generations, pressure %.0f %%%s", inUnits(s.Journal.Bytes), inUnits(s.Journal.Quota),
		s.Journal.Generations, 100*s.Journal.Pressure, after(": ", s.Journal.Failure))
	line("store", "%s", storeLine(s.Store))
	line("recovery", "%d sessions and %d pending in %s%s", s.Recovery.Sessions, s.Recovery.Pending, seconds(s.Recovery.Duration), repairs(s.Recovery))
	for _, d := range s.Recovery.Damages {
		line("DAMAGE", "%s: session %s, sequence %d to %d: %s", d.Place, d.Session, d.First, d.Last, d.Reason)
	}
	return b.String()
}

func refusals(refused map[string]uint64) string {
	var sum uint64
	for _, n := range refused {
		sum += n
	}
	return fmt.Sprintf(", %d refused", sum)
}

// lettersLine says how many dead letters there are, and what they hold up.
func lettersLine(l admin.Letters) string {
	text := fmt.Sprintf("%d dead, %s", l.Count, inUnits(uint64(l.Bytes))) //nolint:gosec // a size
	if l.Full() {
		text += ": NO MORE ARE TAKEN, delivery waits: `engram-sidecar deadletters` replays or drops them"
	}
	return text
}

func lanes(all []admin.Lane) string {
	parts := make([]string, len(all))
	for i, l := range all {
		parts[i] = fmt.Sprintf("%s %d", l.Name, l.Depth)
		if l.Capacity > 0 {
			parts[i] += fmt.Sprintf(" of %d", l.Capacity)
		}
	}
	return strings.Join(parts, ", ")
}

func storeLine(s admin.Store) string {
	text := s.Kind
	if s.Address != "" {
		text += " at " + s.Address
	}
	state := "up"
	if !s.Up {
		state = "DOWN"
	}
	text += fmt.Sprintf(", %s, breaker %s", state, s.Breaker)
	if s.Kind == "embedded" {
		text += fmt.Sprintf(", %d stored", s.Stored)
		if s.Near {
			text += fmt.Sprintf(" (NEAR ITS SIZE: %d rows of %d)", s.Rows, s.Limit)
		}
	}
	text += fmt.Sprintf(", %.0f/s, %d retries", s.Rate, s.Retries)
	if s.Oldest > 0 {
		text += ", oldest waits " + seconds(s.Oldest)
	}
	return text + after(", last error: ", s.LastError)
}

func repairs(r admin.Recovery) string {
	var text string
	if r.TornTail > 0 {
		text += fmt.Sprintf(", cut %d bytes of a torn tail", r.TornTail)
	}
	if r.Rebuilt {
		text += ", ledger built anew"
	}
	if len(r.Damages) > 0 {
		text += fmt.Sprintf(", DAMAGE in %d places", len(r.Damages))
	}
	return text
}

func after(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func inUnits(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, names := float64(n)/unit, []string{"KiB", "MiB", "GiB", "TiB"}
	for value >= unit && len(names) > 1 {
		value, names = value/unit, names[1:]
	}
	return fmt.Sprintf("%.1f %s", value, names[0])
}
