package ledger

import (
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Balance is the account of every write there ever was: Accepted = Delivered + Dead + Dropped + Damaged + Pending.
type Balance struct {
	wal.Tally
	Pending uint64
}

// Session is what is durable of a session.
type Session struct {
	ID       wal.SessionID
	Space    string
	Lane     wal.Lane
	Last     uint64 // highest durable sequence
	Closed   bool
	ClosedAt time.Time // where Closed
}

// record is the session as the journal carries it.
func (s *Session) record() wal.Record {
	c := wal.CarriedSession{}
	if s.Closed {
		c.ClosedAt = s.ClosedAt.UnixNano()
	}
	return wal.Record{
		Kind: wal.KindCarriedSession, Session: s.ID, Sequence: s.Last, Space: s.Space, Lane: s.Lane, Payload: c.Append(nil),
	}
}

// Letter is a dead letter: a write that the store refused for good, whole, with the store's own words.
type Letter struct {
	wal.Record
	Reason   string
	Attempts int
	DiedAt   time.Time

	// Superseded says that a newer write of its space and id was accepted: to replay it would bring back what is out of
	// date. It is known of what Outdate has looked at, and of generations that were released.
	Superseded bool
}

// letterSize is what a letter takes in memory and on disk, about.
func letterSize(payload, reason int) int64 { return int64(payload + reason + 256) }

func (l *Letter) size() int64 { return letterSize(len(l.Payload), len(l.Reason)) }

func (l *Letter) carried() wal.CarriedLetter {
	return wal.CarriedLetter{
		Index: l.Index, Time: l.Time, DiedAt: l.DiedAt.UnixNano(), Attempts: uint32(l.Attempts),
		Reason: l.Reason, Payload: l.Payload, Superseded: l.Superseded,
	}
}

// record is the letter as the journal carries it.
func (l *Letter) record() wal.Record {
	r := l.Record
	r.Kind, r.Index, r.Batch, r.Time = wal.KindCarriedLetter, 0, 0, 0
	r.Payload = l.carried().Append(nil)
	return r
}

// letterOf reads a KindCarriedLetter record; the result points into it.
func letterOf(r *wal.Record) (*Letter, error) {
	c, err := wal.DecodeCarriedLetter(r.Payload)
	if err != nil {
		return nil, err
	}
	l := &Letter{
		Record: *r, Reason: c.Reason, Attempts: int(c.Attempts), DiedAt: time.Unix(0, c.DiedAt), Superseded: c.Superseded,
	}
	l.Kind, l.Index, l.Time, l.Payload = wal.KindWrite, c.Index, c.Time, c.Payload
	return l, nil
}

// own makes l independent of the bytes it was made from: a payload is often a small part of a large read.
func (l *Letter) own() {
	l.ID, l.Payload = append([]byte(nil), l.ID...), append([]byte(nil), l.Payload...)
}
