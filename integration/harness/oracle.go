package harness

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sort"
	"sync"
)

// Observation names one observation for the oracle: the client's own name for its session, and the sequence in it.
type Observation struct {
	Session  string
	Sequence uint64
}

// String returns session/sequence.
func (o Observation) String() string { return fmt.Sprintf("%s/%d", o.Session, o.Sequence) }

// Digest stands for the content of an observation without its memory id, which the sidecar may have made.
type Digest [sha256.Size]byte

// The invariants, as reports name them.
const (
	AckedIsStored   = "I1 acked is stored"
	StoredOnce      = "I2 stored under one id"
	ContentKept     = "I3 content and id as told"
	OrderKept       = "I4 first deliveries in order"
	ResumeInRange   = "I5 resumed between last ack and last send"
	NothingInvented = "I6 nothing acked or stored that was never sent"
)

// Violation is one broken promise.
type Violation struct {
	Invariant string
	Text      string
}

// Oracle records what clients were told and what the store received, and judges the one by the other. Its methods may
// be called from any goroutine; the order of the calls is the order of the history. A client reports a send before it
// sends, and an ack after it has read it, whenever that was: what a killed process had written to the socket was a
// promise all the same.
type Oracle struct {
	mu       sync.Mutex
	sessions map[string]*told
	stored   map[string]Observation // the store's state: which observation each memory id holds
	found    []Violation            // what could be judged as it happened

	redelivered int
}

// told is what one session's client has seen.
type told struct {
	sent    []Digest          // by sequence - 1
	ids     map[uint64]string // the memory id of each ack
	lastAck uint64
	arrived uint64 // highest sequence the store has seen of it
	refused map[uint64]bool
	inStore map[uint64][]string // memory ids that hold a sequence
}

// NewOracle returns an oracle that has seen nothing.
func NewOracle() *Oracle {
	return &Oracle{sessions: make(map[string]*told), stored: make(map[string]Observation)}
}

// Sent says that a client is about to send an observation, for the first time or again.
func (o *Oracle) Sent(of Observation, d Digest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.session(of.Session)
	switch n := uint64(len(s.sent)); {
	case of.Sequence == n+1:
		s.sent = append(s.sent, d)
	case of.Sequence > n+1 || of.Sequence == 0:
		panic(fmt.Sprintf("harness: client %s sends %d after %d: not a history this oracle can judge", of.Session, of.Sequence, n))
	case s.sent[of.Sequence-1] != d:
		panic(fmt.Sprintf("harness: client sends %v again with another content", of))
	}
}

// Acked says that a client has read an ACCEPTED for an observation.
func (o *Oracle) Acked(of Observation, memoryID string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.session(of.Session)
	if of.Sequence == 0 || of.Sequence > uint64(len(s.sent)) {
		o.blame(NothingInvented, "%v was acked, which nobody sent", of)
		return
	}
	if before, ok := s.ids[of.Sequence]; ok && before != memoryID {
		o.blame(StoredOnce, "%v was acked as %q and again as %q", of, before, memoryID)
	}
	s.ids[of.Sequence] = memoryID
	s.lastAck = max(s.lastAck, of.Sequence)
}

// Resumed says at which sequence the sidecar told a client that its session stands.
func (o *Oracle) Resumed(session string, sequence uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.session(session)
	if sequence < s.lastAck {
		o.blame(ResumeInRange, "session %s resumed at %d, although %d had been acked", session, sequence, s.lastAck)
	}
	if sent := uint64(len(s.sent)); sequence > sent {
		o.blame(ResumeInRange, "session %s resumed at %d, although nothing above %d had been sent", session, sequence, sent)
	}
}

// Forgotten says that the sidecar no longer knows a session whose id it had given out.
func (o *Oracle) Forgotten(session string, cause error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.blame(ResumeInRange, "session %s is not known any more: %v", session, cause)
}

// Refused says that the store has refused an observation for good, so that it need not be stored.
func (o *Oracle) Refused(of Observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.session(of.Session).refused[of.Sequence] = true
}

// Stored says that the store has taken a memory, for the first time or again.
func (o *Oracle) Stored(of Observation, memoryID string, d Digest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.sessions[of.Session]
	if s == nil || of.Sequence == 0 || of.Sequence > uint64(len(s.sent)) {
		o.blame(NothingInvented, "memory %q holds %v, which nobody sent", memoryID, of)
		return
	}
	if s.sent[of.Sequence-1] != d {
		o.blame(ContentKept, "memory %q holds %v with a content that was not sent", memoryID, of)
	}
	o.keep(s, of, memoryID)
	if of.Sequence <= s.arrived {
		return
	}
	for missing := s.arrived + 1; missing < of.Sequence; missing++ {
		if !s.refused[missing] {
			o.blame(OrderKept, "%v was delivered before sequence %d", of, missing)
			break
		}
	}
	s.arrived = of.Sequence
}

// keep puts a delivery into the store's state, where the same id overwrites.
func (o *Oracle) keep(s *told, of Observation, memoryID string) {
	before, held := o.stored[memoryID]
	o.stored[memoryID] = of
	switch {
	case !held:
		if ids := s.inStore[of.Sequence]; len(ids) > 0 {
			o.blame(StoredOnce, "%v is in the store as %q and as %q", of, ids, memoryID)
		}
		s.inStore[of.Sequence] = append(s.inStore[of.Sequence], memoryID)
	case before == of:
		o.redelivered++
	default:
		o.blame(StoredOnce, "memory id %q stands for %v and for %v", memoryID, before, of)
	}
}

// Broken says whether a violation has already been seen. What only the end can show is not among them.
func (o *Oracle) Broken() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.found) > 0
}

// LastAck returns the highest sequence of a session for which its client has read an ACCEPTED.
func (o *Oracle) LastAck(session string) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.session(session).lastAck
}

// Verdict is what the oracle makes of a history.
type Verdict struct {
	Sent, Acked         int // distinct observations
	Stored, Redelivered int // memories in the store's state; deliveries of what it held already
	Violations          []Violation
}

// Judge ends the history: everything acked must have arrived by now. It may be called again later.
func (o *Oracle) Judge() Verdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := Verdict{Stored: len(o.stored), Redelivered: o.redelivered}
	v.Violations = append(v.Violations, o.found...)
	for _, name := range o.names() {
		s := o.sessions[name]
		v.Sent += len(s.sent)
		v.Acked += len(s.ids)
		v.Violations = append(v.Violations, s.judge(name)...)
	}
	return v
}

// judge finds what only the end can show of one session.
func (s *told) judge(name string) (found []Violation) {
	for sequence := uint64(1); sequence <= uint64(len(s.sent)); sequence++ {
		of, ids := Observation{name, sequence}, s.inStore[sequence]
		acked, wasAcked := s.ids[sequence]
		switch {
		case wasAcked && len(ids) == 0 && !s.refused[sequence]:
			found = append(found, Violation{AckedIsStored, fmt.Sprintf("%v was acked and is not in the store", of)})
		case wasAcked && len(ids) > 0 && !slices.Contains(ids, acked):
			found = append(found, Violation{ContentKept, fmt.Sprintf("%v was acked as %q and stored as %q", of, acked, ids)})
		}
	}
	return found
}

func (o *Oracle) session(name string) *told {
	s := o.sessions[name]
	if s == nil {
		s = &told{ids: make(map[uint64]string), refused: make(map[uint64]bool), inStore: make(map[uint64][]string)}
		o.sessions[name] = s
	}
	return s
}

func (o *Oracle) names() []string {
	names := make([]string, 0, len(o.sessions))
	for name := range o.sessions {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (o *Oracle) blame(invariant, format string, args ...any) {
	o.found = append(o.found, Violation{invariant, fmt.Sprintf(format, args...)})
}
