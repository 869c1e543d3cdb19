package envelope

import (
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// AckStatus is an engram.v1.ObservationAck.Status.
type AckStatus int32

// What can become of an observation.
const (
	AckAccepted AckStatus = 1 + iota // fsynced in the journal
	AckIndexed                       // in the store
	AckRejected                      // refused by the store for good
)

// State is an engram.v1.StreamStatus.State.
type State int32

// The states of an observation stream, and the two in-band refusals.
const (
	StateActive       State = 1 + iota
	StatePaused             // by the client
	StateBackpressure       // pressure is 0.8 or more
	StateOverloaded         // the observation was refused for want of room
	StateError              // the message was refused
	StateClosed             // the session is closed
)

// Header is what every ObservationResponse carries beside its result.
type Header struct {
	Session  string    // text of the session's id; empty where there is none yet
	Sequence uint64    // of the request that is answered; 0 for what comes unasked
	Now      time.Time // server_timestamp; the zero time leaves it out
}

// Ack is an engram.v1.ObservationAck.
type Ack struct {
	Status      AckStatus
	MemoryID    []byte    // UTF-8
	CommittedAt time.Time // when it became durable; the zero time leaves it out
}

// Status is an engram.v1.StreamStatus.
type Status struct {
	State         State
	Message       string // what is not UTF-8 in it is replaced by U+FFFD
	QueueDepth    uint32 // observations waiting for the store in the session's lane
	QueueCapacity uint32
	Pressure      float32 // in [0, 1]
}

// InitAck is an engram.v1.StreamInitAck; its session id is the header's.
type InitAck struct {
	InitialSequence uint64 // the last durable one; the client goes on at the next
	Capabilities    Capabilities
}

// Capabilities is an engram.v1.StreamCapabilities.
type Capabilities struct {
	MaxObservationsPerSecond  uint32 // 0 means no limit
	QueueCapacity             uint32 // observations
	SupportsBackpressure      bool
	SupportsSnapshotIsolation bool
}

// AppendAck appends the bytes of an ObservationResponse with an ack in it.
func AppendAck(dst []byte, h Header, a Ack) []byte {
	dst, body := begin(dst, 2)
	dst = appendNumber(dst, 1, uint64(a.Status)) //nolint:gosec // an enum on the wire is its bits
	dst = appendText(dst, 2, a.MemoryID)
	dst = appendTime(dst, 3, a.CommittedAt)
	return appendHeader(finish(dst, body), h)
}

// AppendStatus appends the bytes of an ObservationResponse with a status in it.
func AppendStatus(dst []byte, h Header, s Status) []byte {
	dst, body := begin(dst, 3)
	dst = appendNumber(dst, 1, uint64(s.State)) //nolint:gosec // an enum on the wire is its bits
	dst = appendText(dst, 2, strings.ToValidUTF8(s.Message, "\uFFFD"))
	dst = appendNumber(dst, 3, uint64(s.QueueDepth))
	dst = appendNumber(dst, 4, uint64(s.QueueCapacity))
	if bits := math.Float32bits(s.Pressure); bits != 0 {
		dst = protowire.AppendTag(dst, 5, protowire.Fixed32Type)
		dst = protowire.AppendFixed32(dst, bits)
	}
	return appendHeader(finish(dst, body), h)
}

// AppendInitAck appends the bytes of an ObservationResponse with an init_ack in it.
func AppendInitAck(dst []byte, h Header, a InitAck) []byte {
	dst, body := begin(dst, 1)
	dst = appendText(dst, 1, h.Session)
	dst = appendNumber(dst, 2, a.InitialSequence)
	dst, inner := begin(dst, 3)
	dst = appendNumber(dst, 1, uint64(a.Capabilities.MaxObservationsPerSecond))
	dst = appendNumber(dst, 2, uint64(a.Capabilities.QueueCapacity))
	dst = appendBool(dst, 3, a.Capabilities.SupportsBackpressure)
	dst = appendBool(dst, 4, a.Capabilities.SupportsSnapshotIsolation)
	dst = finish(dst, inner)
	return appendHeader(finish(dst, body), h)
}

func appendHeader(dst []byte, h Header) []byte {
	dst = appendText(dst, 10, h.Session)
	dst = appendNumber(dst, 11, h.Sequence)
	return appendTime(dst, 12, h.Now)
}
