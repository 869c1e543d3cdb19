package store

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Filter is what a memory has to meet; each part that is set has to hold. Texts are compared byte for byte.
type Filter struct {
	// From and To bound when it happened (an episode's when, a memory's created_at): not before From, before To. What says
	// no time lies in no window.
	From, To time.Time
	Place    string   // an episode's where_location
	People   []string // all of them among an episode's who

	With    []string // tags of a memory, all of them
	Without []string // and none of these
}

// IsZero says that the filter lets everything pass.
func (f *Filter) IsZero() bool {
	return f.From.IsZero() && f.To.IsZero() && f.Place == "" && len(f.People) == 0 && len(f.With) == 0 && len(f.Without) == 0
}

// Match says whether circumstances meet the filter.
func (f *Filter) Match(c *envelope.Circumstances) bool {
	switch {
	case !f.matchTime(c), f.Place != "" && string(c.Place) != f.Place:
		return false
	case !containsAll(c.People, f.People), !containsAll(c.Tags, f.With):
		return false
	}
	return !slices.ContainsFunc(f.Without, func(tag string) bool { return contains(c.Tags, tag) })
}

func (f *Filter) matchTime(c *envelope.Circumstances) bool {
	if f.From.IsZero() && f.To.IsZero() {
		return true
	}
	if !c.HasWhen {
		return false
	}
	at := c.When.Time()
	return !at.Before(f.From) && (f.To.IsZero() || at.Before(f.To))
}

func containsAll(have [][]byte, want []string) bool {
	return !slices.ContainsFunc(want, func(w string) bool { return !contains(have, w) })
}

func contains(have [][]byte, want string) bool {
	return slices.ContainsFunc(have, func(b []byte) bool { return string(b) == want })
}

// CircumstancesOf reads what a Filter looks at out of a message that was stored.
func CircumstancesOf(form wal.Form, body []byte, c *envelope.Circumstances) error {
	switch form {
	case wal.FormEpisode:
		return c.OfEpisode(body)
	case wal.FormRemember:
		return c.OfRemember(body)
	case wal.FormExperience:
		return c.OfExperience(body)
	case FormMemory:
		return c.OfMemory(body)
	default:
		return fmt.Errorf("form: expected an Episode, a Memory, a RememberRequest or an ExperienceRequest, got %v", form)
	}
}

// Moment is the place of a memory in the order in which a context cue is answered.
type Moment struct {
	When    envelope.Timestamp
	HasWhen bool
	ID      string
}

// Later orders moments as a context cue is answered: what happened last comes first, what says no time comes last, and
// where that is the same the ids decide, as bytes.
func Later(a, b Moment) int {
	if a.HasWhen != b.HasWhen {
		if a.HasWhen {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(b.When.Seconds, a.When.Seconds), cmp.Compare(b.When.Nanos, a.When.Nanos),
		bytes.Compare([]byte(a.ID), []byte(b.ID)))
}
