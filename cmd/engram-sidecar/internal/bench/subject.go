package bench

import (
	"fmt"
	"slices"
)

// Subject is something that is measured.
type Subject string

// The subjects.
const (
	Echo        Subject = "echo"             // a gRPC echo of raw frames
	DurableEcho Subject = "durable echo"     // the same, which answers when the bytes are appended and synced
	BareFile    Subject = "bare file"        // the bytes appended and synced without gRPC, a batch at a time
	JournalOnly Subject = "journal"          // the journal without anything around it, a batch at a time
	Sidecar     Subject = "sidecar"          // the sidecar, its store away
	ToEmbedded  Subject = "sidecar+embedded" // the sidecar until the embedded store has everything
	ToEngram    Subject = "sidecar+engram"   // the sidecar until an Engram-like store has everything
	Embedded    Subject = "embedded"         // the embedded store without the sidecar
	Engram      Subject = "engram"           // an Engram-like store without the sidecar
)

// about says what each subject is, in the order in which tables show them.
var about = []struct {
	Subject
	text string
}{
	{Echo, "an echo over gRPC, raw frames; nothing is kept"},
	{DurableEcho, "an echo that acks when the bytes are appended to one file and synced, many at a time"},
	{Sidecar, "the sidecar; its store is away"},
	{ToEmbedded, "the sidecar, until its embedded store has everything"},
	{Embedded, "the embedded store alone, without gRPC"},
	{Engram, "the Engram-like store alone: the client streams to it"},
	{ToEngram, "the sidecar, until an Engram-like store has everything"},
	{BareFile, "append and sync of the same bytes to one file, without gRPC"},
	{JournalOnly, "the journal alone, without gRPC"},
}

// About says in a few words what a subject is.
func (s Subject) About() string {
	for _, a := range about {
		if a.Subject == s {
			return a.text
		}
	}
	return string(s)
}

func (s Subject) place() int {
	return slices.IndexFunc(about, func(a struct {
		Subject
		text string
	},
	) bool {
		return a.Subject == s
	})
}

// ParseStore is the subject that is a sidecar with the named store.
func ParseStore(store string) (Subject, error) {
	switch store {
	case "away":
		return Sidecar, nil
	case "embedded":
		return ToEmbedded, nil
	case "engram":
		return ToEngram, nil
	}
	return "", fmt.Errorf("--store: expected away, embedded or engram, got %q", store)
}

// store is what the sidecar of a subject delivers to, as its setting says; "" where the subject has no sidecar.
func (s Subject) store(engram string) string {
	switch s {
	case Sidecar:
		return "engram://127.0.0.1:1" // nobody listens there
	case ToEmbedded:
		return "embedded"
	case ToEngram:
		return "engram://" + engram
	default:
		return ""
	}
}

// isSidecar says that the subject is a sidecar, whatever is behind it.
func (s Subject) isSidecar() bool { return s == Sidecar || s.delivers() }

// delivers says that the subject's work is done when the store has everything.
func (s Subject) delivers() bool { return s == ToEmbedded || s == ToEngram }

// alone is the role of a subject that drives itself.
func (s Subject) alone() (role, bool) {
	r, ok := map[Subject]role{BareFile: roleFile, JournalOnly: roleJournal, Embedded: roleEmbedded}[s]
	return r, ok
}

// server is the role of a subject's server, other than a sidecar.
func (s Subject) server() role {
	return map[Subject]role{Echo: roleEcho, DurableEcho: roleDurable, Engram: roleEngram}[s]
}

func (s Subject) protocol() Protocol {
	if s == Engram {
		return ProtocolRemember
	}
	return ProtocolObserve
}

// Baselines are what a subject is compared with, in the order of their turns.
func Baselines(of Subject) []Subject {
	switch of {
	case ToEmbedded:
		return []Subject{Echo, DurableEcho, of, Embedded, BareFile, JournalOnly}
	case ToEngram:
		return []Subject{Echo, DurableEcho, of, Engram, BareFile, JournalOnly}
	default:
		return []Subject{Echo, DurableEcho, of, BareFile, JournalOnly}
	}
}
