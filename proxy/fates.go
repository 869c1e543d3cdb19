package proxy

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// fates is what one client has not been told yet of what became of its observations. It is bounded: when a client, or the
// rate that it asked for, is too slow for what it holds, it lets all of it go and falls behind; the ledger then tells which
// observations died, and one INDEXED stands for all the others.
//
// Reports come from the forwarder, and the stream's sender takes them out.
type fates struct {
	o *observation

	mu      sync.Mutex
	waiting []fate // of the sequences told+1 and up, one after the other; empty while behind
	ids     []byte // of these, one behind the other
	first   int    // of waiting and ids: what is before was taken out
	firstID int
	told    uint64   // the client knows of all up to here
	seen    uint64   // the highest sequence that a report came of
	damaged []uint64 // above told, reported while behind: the ledger does not know the sequences of these
	behind  bool
	turn    bool // with a rate: it is time to tell something
	hurry   bool // the session is closed: no rate holds what is left of it back
	ended   bool
}

// fate is what became of one observation. Where it has no id of its own, that is made again from the sequence.
type fate struct {
	at     int64 // Unix nanoseconds
	length uint16
	status envelope.AckStatus
	lost   bool // damaged in the journal: it is no dead letter
}

// fateCost is what a fate takes in memory, without its id.
const fateCost = 16

// fatesDamaged bounds how many damaged observations are remembered for a client that has fallen behind.
const fatesDamaged = 1024

// report takes a fate in. It is the forwarder's call, and does not wait for the client.
func (f *fates) report(r *wal.Record, what wal.Fate) {
	f.mu.Lock()
	wake := f.add(r, what)
	f.mu.Unlock()
	if wake {
		f.wake()
	}
}

// wake has the sender look.
func (f *fates) wake() {
	f.o.poke()
	f.o.nudge()
}

// add says whether the sender has to be told: not where it has not yet looked at what came before.
func (f *fates) add(r *wal.Record, what wal.Fate) (wake bool) {
	if f.ended || r.Sequence <= max(f.seen, f.told) {
		return false
	}
	next := f.told + uint64(len(f.waiting)-f.first) + 1 //nolint:gosec // not negative
	idle := f.first == len(f.waiting) && !f.behind
	f.seen = r.Sequence
	id := r.ID
	if isMadeID(id, f.o.idText, r.Sequence) {
		id = nil
	}
	switch {
	case f.behind:
	case r.Sequence != next, f.o.manners.rated(), f.size()+fateCost+len(id) > f.o.room/2:
		f.fallBehind()
	default:
		status := envelope.AckIndexed
		if what != wal.Delivered {
			status = envelope.AckRejected
		}
		one := fate{at: time.Now().UnixNano(), length: uint16(len(id)), status: status, lost: what == wal.Damaged} //nolint:gosec // at most 256
		f.waiting, f.ids = append(f.waiting, one), append(f.ids, id...)
		return idle
	}
	if what == wal.Damaged && len(f.damaged) < fatesDamaged {
		f.damaged = append(f.damaged, r.Sequence)
	}
	return idle
}

// size is what f takes in memory, about.
func (f *fates) size() int { return fateCost*len(f.waiting) + len(f.ids) }

// fallBehind gives up what is held: it can be asked for again. Only damage cannot.
func (f *fates) fallBehind() {
	f.behind = true
	for i, one := range f.waiting[f.first:] {
		if one.lost && len(f.damaged) < fatesDamaged {
			f.damaged = append(f.damaged, f.told+uint64(i)+1)
		}
	}
	f.waiting, f.ids, f.first, f.firstID = nil, nil, 0, 0
}

// end lets no more be told.
func (f *fates) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.waiting, f.ids = nil, nil
}

// finish has all that is left told at once, and says whether all up to last is.
func (f *fates) finish(last uint64) bool {
	f.mu.Lock()
	done := f.told >= last || f.ended || f.o.manners.limit.Load() == 0
	f.hurry = true
	f.mu.Unlock()
	if !done {
		f.wake()
	}
	return done
}

// due says that the time has come to tell something, where the client has set a rate.
func (f *fates) due() {
	f.mu.Lock()
	f.turn = f.seen > f.told || f.behind // or else it passes: the next news wait for the next one
	wake := f.turn
	f.mu.Unlock()
	if wake {
		f.wake()
	}
}

// tell is called by the sender: it appends as much as there is room for of what the client may be told now. That an
// observation is in the store is never told before its own ack.
func (f *fates) tell(b *sendBatch) {
	if len(b.buf) >= sendBatchBytes || f.o.manners.limit.Load() == 0 {
		return
	}
	acked := f.o.acked
	f.mu.Lock()
	defer f.mu.Unlock()
	rated := f.o.manners.rated() && !f.hurry
	switch {
	case f.ended || rated && !f.turn:
		return
	case rated && !f.behind && f.first < len(f.waiting):
		f.fallBehind()
	case f.hurry && f.told < acked && f.first == len(f.waiting):
		f.behind = true // what is not here was reported before this stream began to listen
	}
	if f.behind {
		f.catchUp(b, acked)
		return
	}
	for f.first < len(f.waiting) && f.told < acked {
		one := f.waiting[f.first]
		id := f.ids[f.firstID : f.firstID+int(one.length)]
		f.first, f.firstID, f.told = f.first+1, f.firstID+len(id), f.told+1
		if !f.appendNamed(b, f.told, one, id) {
			break
		}
	}
	f.compact()
}

// compact forgets what was taken out. An idle stream keeps no memory for its fates.
func (f *fates) compact() {
	left := len(f.waiting) - f.first
	switch {
	case left == 0:
		f.waiting, f.ids = nil, nil
	case f.first >= left:
		f.waiting = append(f.waiting[:0], f.waiting[f.first:]...)
		f.ids = append(f.ids[:0], f.ids[f.firstID:]...)
	default:
		return
	}
	f.first, f.firstID = 0, 0
}

// appendNamed appends an ack with the memory's id.
func (f *fates) appendNamed(b *sendBatch, sequence uint64, one fate, id []byte) (more bool) {
	var scratch [madeIDSize]byte
	if len(id) == 0 {
		id = appendMadeID(scratch[:0], f.o.idText, sequence)
	}
	return f.append(b, sequence, envelope.Ack{Status: one.status, MemoryID: id}, one.at)
}

// append appends an ack; at is when the store's answer came, in Unix nanoseconds.
func (f *fates) append(b *sendBatch, sequence uint64, ack envelope.Ack, at int64) (more bool) {
	now := time.Unix(0, at)
	if ack.Status == envelope.AckIndexed {
		ack.CommittedAt = now
	}
	b.begin()
	b.buf = envelope.AppendAck(b.buf, envelope.Header{Session: f.o.idText, Sequence: sequence, Now: now}, ack)
	return b.end()
}

// fatesAtOnce is how many rejected observations are asked for at a time.
const fatesAtOnce = 64

// catchUp asks the ledger what the reports that were given up have told. The lock is held: only this changes told, but the
// forwarder's next report must wait until it is known whether it fits on.
func (f *fates) catchUp(b *sendBatch, acked uint64) {
	through := min(max(f.o.s.deps.Settlement.Through(f.o.id), f.seen), acked)
	if through <= f.told {
		f.behind, f.turn = f.seen > f.told, false
		return
	}
	rejected := f.o.s.deps.Settlement.Rejected(f.o.id, f.told, through, fatesAtOnce)
	part := len(rejected) == fatesAtOnce && rejected[fatesAtOnce-1] < through
	if part {
		through = rejected[fatesAtOnce-1]
	}
	rejected = f.withDamaged(rejected, through)
	indexed := through // the highest that was not rejected
	for i := len(rejected) - 1; i >= 0 && rejected[i] == indexed; i-- {
		indexed--
	}
	now := time.Now().UnixNano()
	below, _ := slices.BinarySearch(rejected, indexed)
	f.appendRejected(b, rejected[:below], now)
	if indexed > f.told {
		f.append(b, indexed, envelope.Ack{Status: envelope.AckIndexed}, now)
	}
	f.appendRejected(b, rejected[below:], now)
	f.told = through
	f.behind, f.turn = part || f.seen > through, f.turn && part
}

func (f *fates) appendRejected(b *sendBatch, sequences []uint64, at int64) {
	for _, sequence := range sequences {
		f.append(b, sequence, envelope.Ack{Status: envelope.AckRejected}, at)
	}
}

// withDamaged adds the damaged ones up to through, and forgets them.
func (f *fates) withDamaged(rejected []uint64, through uint64) []uint64 {
	f.damaged = slices.DeleteFunc(f.damaged, func(sequence uint64) bool {
		if sequence > through {
			return false
		}
		if sequence > f.told {
			rejected = append(rejected, sequence)
		}
		return true
	})
	slices.Sort(rejected)
	return slices.Compact(rejected)
}

// isMadeID says whether id is the one that the sidecar makes for an observation without its own.
func isMadeID(id []byte, session string, sequence uint64) bool {
	var scratch [madeIDSize]byte
	return bytes.Equal(id, appendMadeID(scratch[:0], session, sequence))
}
