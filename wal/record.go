package wal

import (
	"fmt"

	"github.com/google/uuid"
)

// Kind says what a record tells. The values stand on disk and never change.
type Kind uint8

// The kinds of record, in the order in which format version 1 numbers them.
const (
	// KindHead is the first record of every generation: the format version, the
	// journal's identity, and the cumulative counters as they stood before it.
	KindHead Kind = 1 + iota
	// KindSessionOpened begins a session: Session, Space and Lane.
	KindSessionOpened
	// KindSessionClosed ends a session by its client's wish; Sequence is its last one.
	KindSessionClosed
	// KindSessionExpired forgets a session that had no stream for the session timeout.
	KindSessionExpired
	// KindWrite is one accepted observation or memory; Form says what Payload is.
	KindWrite
	// KindCarriedSession repeats what only a generation about to be released could tell of a session.
	KindCarriedSession
	// KindCarriedLetter repeats a dead letter, whole, out of a generation about to be released.
	KindCarriedLetter
	// KindReleased precedes the deletion of a generation: a missing one is thereby known from a lost one.
	KindReleased
	// KindSettled tells the later fate of a carried dead letter: replayed or dropped.
	KindSettled
	// KindProbe tells nothing: it went the way of an acknowledgement, to show that the way is open.
	KindProbe

	kindEnd
)

var kindNames = [...]string{
	KindHead:           "head",
	KindSessionOpened:  "session opened",
	KindSessionClosed:  "session closed",
	KindSessionExpired: "session expired",
	KindWrite:          "write",
	KindCarriedSession: "carried session",
	KindCarriedLetter:  "carried letter",
	KindReleased:       "released",
	KindSettled:        "settled",
	KindProbe:          "probe",
}

// String returns the kind's name as operators see it.
func (k Kind) String() string {
	if k == 0 || k >= kindEnd {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kindNames[k]
}

// Form says which engram.v1 message the payload of a write is. The values stand on disk.
type Form uint8

// The forms of a write's payload. The bytes are the client's own, never decoded and encoded again.
const (
	FormNone       Form = iota
	FormEpisode         // an Episode, from ObserveStream or MemoryStream
	FormRemember        // a RememberRequest
	FormExperience      // an ExperienceRequest

	formEnd
)

// String returns the name of the message.
func (f Form) String() string {
	switch f {
	case FormEpisode:
		return "Episode"
	case FormRemember:
		return "RememberRequest"
	case FormExperience:
		return "ExperienceRequest"
	default:
		return fmt.Sprintf("form %d", uint8(f))
	}
}

// Lane is the priority of a session and of what it writes. The values stand on disk.
type Lane uint8

// The three lanes. Zero is no lane: records that are not delivered have none.
const (
	LaneHigh Lane = 1 + iota
	LaneNormal
	LaneLow
)

// String returns the lane's name as clients and operators write it.
func (l Lane) String() string {
	switch l {
	case LaneHigh:
		return "high"
	case LaneNormal:
		return "normal"
	case LaneLow:
		return "low"
	default:
		return fmt.Sprintf("lane %d", uint8(l))
	}
}

// ParseLane reads high, normal or low.
func ParseLane(s string) (Lane, error) {
	for l := LaneHigh; l <= LaneLow; l++ {
		if s == l.String() {
			return l, nil
		}
	}
	return 0, fmt.Errorf("priority %q: expected high, normal or low", s)
}

// SessionID is the UUID of a session. Zero stands for no session.
type SessionID [16]byte

// IsZero says that the record belongs to no session.
func (id SessionID) IsZero() bool { return id == SessionID{} }

// String returns the usual text of a UUID.
func (id SessionID) String() string { return uuid.UUID(id).String() }

// ParseSessionID reads the usual text of a UUID.
func ParseSessionID(s string) (SessionID, error) {
	u, err := uuid.Parse(s)
	if err != nil {
		return SessionID{}, fmt.Errorf("session id %q: expected a UUID: %w", s, err)
	}
	return SessionID(u), nil
}

// Record is one entry of the journal, and the common currency of the rooms: the edge makes it, the journal keeps it, the
// forwarder takes it to a store. Whoever holds a Record may keep Payload and ID; nobody changes their bytes.
type Record struct {
	Kind     Kind
	Form     Form
	Lane     Lane
	Session  SessionID
	Sequence uint64 // the client's, 1 and up; 0 where there is no session
	Space    string // memory space, at most 64 bytes
	ID       []byte // memory id, at most 256 bytes
	Payload  []byte // the client's bytes for a write; for the other kinds see payload.go

	Index uint64 // place in the journal, 1 and up, never used twice; set by Append
	Batch uint64 // the group commit that made it durable; set by Append
	Time  int64  // when it was appended, Unix nanoseconds; set by Append where it is 0
}

// Limits of a record's variable parts, in bytes. A length above them is damage, whatever the checksum says.
const (
	MaxSpace   = 255
	MaxID      = 256
	MaxPayload = 16 << 20
)
