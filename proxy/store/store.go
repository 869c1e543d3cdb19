package store

import (
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Dimensions is the length of every embedding, in float32 numbers.
const Dimensions = 768

// FormMemory is the form of a Hit whose Body is an engram.v1.Memory, as an Engram server answers. It is never journaled.
const FormMemory wal.Form = 255

// Query is one recall, put to a store.
type Query struct {
	Cue       Cue       // which kind of cue the rest was made of; empty counts as what Vector and Text look like
	Space     string    // memory space; never empty
	Vector    []float32 // Dimensions numbers, finite; nil where the cue cannot be compared with vectors
	K         int       // how many hits at most, 1 and up
	Threshold float32   // hits with a lower score are left out; 0 leaves out none but those below 0

	// Text is a semantic cue's words, "" for another kind of cue. Where the store's Capabilities say TextAsVector, Vector
	// holds what the built-in embedder makes of them; elsewhere the store understands words, and finds its own in Raw.
	Text string
	// Filter is what each hit has to meet beside: a context cue's circumstances, a semantic cue's tags. A query with
	// neither Vector nor Text (a context cue) asks for what meets it, ordered as Later says.
	Filter Filter

	// Raw is the request as an engram.v1.RecallRequest, serialized, for stores that pass the whole cue on. It is set
	// where the cue is not an embedding, and may be set where it is.
	Raw []byte

	// Before leaves out what was committed to the store at or after this moment; zero leaves out nothing. Only for stores
	// whose Capabilities say CommitTimes.
	Before time.Time
	// Committed asks for nothing but what was committed when the call arrived (snapshot isolation).
	Committed bool
}

// Hit is one memory that answers a Query.
type Hit struct {
	ID       string
	Score    float32 // cosine similarity, -1 to 1; meaningless without HasScore
	HasScore bool

	Version     uint64    // the journal index it was stored under; 0 where the store keeps none
	CommittedAt time.Time // when the store committed it; zero where the store keeps none

	Form wal.Form // which message Body is: one of wal's, or FormMemory
	Body []byte   // the message, serialized; never changed by whoever holds it
}

// Answer is what a store knows about a Query, best first, no id twice.
type Answer struct {
	Hits []Hit

	Considered int // how many memories were compared, where the store can tell; else 0
	Above      int // how many of them reached the threshold, where the store can tell; else 0

	// Raw is the engram.v1.RecallResponse, serialized, where the store is an Engram server: its confidence and metadata
	// go on to the client. Hits are taken out of it.
	Raw []byte
}

// Cue is a kind of question, named as clients know it.
type Cue string

// The kinds of cue, after the fields of engram.v1.Cue.
const (
	CueEmbedding Cue = "embedding"
	CueContext   Cue = "context"
	CueTemporal  Cue = "temporal"
	CueSemantic  Cue = "semantic"
	CuePattern   Cue = "pattern"
)

// Capabilities say what a store can do; they do not change while it is open. Zero limits mean: no wish of its own.
type Capabilities struct {
	Name        string // as operators know it: embedded, engram, postgres
	Cues        []Cue  // what Recall understands
	CommitTimes bool   // Query.Before works and Hit.CommittedAt is set
	// TextAsVector says that a semantic cue is answered by comparing Query.Vector, made of its text by the embedder that
	// `+"`observe`"+` has: it finds what was stored with that embedder's vectors.
	TextAsVector bool
	Versions     bool // Hit.Version is set

	BatchItems int // most records in one Put
	BatchBytes int // most payload bytes in one Put; a single larger record still comes alone
	Parallel   int // how many Puts at once it profits from
}

// Can says whether Recall understands a kind of cue.
func (c Capabilities) Can(cue Cue) bool {
	for _, known := range c.Cues {
		if known == cue {
			return true
		}
	}
	return false
}
