package wal

import (
	"encoding/binary"
	"fmt"
)

// Tally counts writes by what became of them. Accepted − (Delivered + Dead + Dropped + Damaged) are pending.
type Tally struct {
	Accepted  uint64 // durable in the journal
	Delivered uint64 // confirmed by the store
	Dead      uint64 // refused by the store for good and kept as dead letters
	Dropped   uint64 // dead letters that an operator dropped
	Damaged   uint64 // lost to a damaged disk, and reported
}

// Pending is the number of writes that nothing has become of yet.
func (t Tally) Pending() uint64 {
	settled := t.Delivered + t.Dead + t.Dropped + t.Damaged
	if settled > t.Accepted {
		return 0
	}
	return t.Accepted - settled
}

// Plus adds two tallies.
func (t Tally) Plus(o Tally) Tally {
	return Tally{
		Accepted: t.Accepted + o.Accepted, Delivered: t.Delivered + o.Delivered, Dead: t.Dead + o.Dead,
		Dropped: t.Dropped + o.Dropped, Damaged: t.Damaged + o.Damaged,
	}
}

// Fate is what became of a write. The values stand on disk, in journal and ledger.
type Fate uint8

// The fates of a write.
const (
	Delivered Fate = 1 + iota
	Dead
	Dropped
	Damaged
)

// String returns the fate's name.
func (f Fate) String() string {
	switch f {
	case Delivered:
		return "delivered"
	case Dead:
		return "dead"
	case Dropped:
		return "dropped"
	case Damaged:
		return "damaged"
	default:
		return fmt.Sprintf("fate %d", uint8(f))
	}
}

// Move takes one write from Dead to the fate that a replay or an operator gave it.
func (t Tally) Move(to Fate) Tally {
	if t.Dead > 0 {
		t.Dead--
	}
	return t.Add(to, 1)
}

// Add counts n writes more of one fate.
func (t Tally) Add(f Fate, n uint64) Tally {
	switch f {
	case Delivered:
		t.Delivered += n
	case Dead:
		t.Dead += n
	case Dropped:
		t.Dropped += n
	case Damaged:
		t.Damaged += n
	}
	return t
}

// Span is a run of generation numbers, both ends included.
type Span struct{ First, Last uint64 }

// Head is the payload of a generation's first record: what makes the journal readable from there on without any
// generation before it.
type Head struct {
	Version    uint16
	Journal    [16]byte // identity of the data directory
	Generation uint64
	Accepted   uint64 // writes in all generations before this one, ever
	Released   Tally  // the writes of all released generations
	Live       []Span // generations before this one that were not released
}

func (h *Head) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, h.Version)
	dst = append(dst, h.Journal[:]...)
	dst = le.AppendUint64(dst, h.Generation)
	dst = le.AppendUint64(dst, h.Accepted)
	dst = appendTally(dst, h.Released)
	dst = le.AppendUint32(dst, uint32(len(h.Live)))
	for _, s := range h.Live {
		dst = le.AppendUint64(le.AppendUint64(dst, s.First), s.Last)
	}
	return dst
}

// DecodeHead reads the payload of a KindHead record.
func DecodeHead(b []byte) (*Head, error) {
	d := decoder{b: b}
	h := &Head{Version: d.u16()}
	copy(h.Journal[:], d.take(16))
	h.Generation, h.Accepted, h.Released = d.u64(), d.u64(), d.tally()
	n := d.u32()
	if uint64(n)*16 > uint64(len(d.b)) {
		return nil, fmt.Errorf("%w: head names %d spans in %d bytes", ErrDamaged, n, len(d.b))
	}
	for range n {
		h.Live = append(h.Live, Span{First: d.u64(), Last: d.u64()})
	}
	return h, d.end("head")
}

// Released is the payload of a KindReleased record.
type Released struct {
	Generation uint64
	Tally      Tally // of the writes in that generation
}

func (r *Released) append(dst []byte) []byte {
	return appendTally(binary.LittleEndian.AppendUint64(dst, r.Generation), r.Tally)
}

// DecodeReleased reads the payload of a KindReleased record.
func DecodeReleased(b []byte) (*Released, error) {
	d := decoder{b: b}
	r := &Released{Generation: d.u64(), Tally: d.tally()}
	return r, d.end("released")
}

// CarriedSession is the payload of KindCarriedSession and KindSessionClosed; id, space, lane and last sequence stand in
// the record itself.
type CarriedSession struct {
	ClosedAt int64 // Unix nanoseconds, 0 while the session is open
}

// Append appends the payload's bytes to dst.
func (c CarriedSession) Append(dst []byte) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(c.ClosedAt))
}

// DecodeCarriedSession reads the payload of a KindCarriedSession or KindSessionClosed record.
func DecodeCarriedSession(b []byte) (CarriedSession, error) {
	d := decoder{b: b}
	c := CarriedSession{ClosedAt: int64(d.u64())}
	return c, d.end("carried session")
}

// CarriedLetter is the payload of a KindCarriedLetter record; session, sequence, space, lane, form and memory id stand in
// the record itself and are those of the write.
type CarriedLetter struct {
	Index    uint64 // of the write
	Time     int64  // of the write
	DiedAt   int64  // Unix nanoseconds
	Attempts uint32 // at most 2³¹−1; on disk the highest bit is Superseded
	Reason   string // the store's own words
	Payload  []byte // of the write

	Superseded bool // a newer write of its id was accepted, in a generation that is gone by now
}

const supersededBit = 1 << 31

// Append appends the payload's bytes to dst.
func (c CarriedLetter) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(le.AppendUint64(le.AppendUint64(dst, c.Index), uint64(c.Time)), uint64(c.DiedAt))
	attempts := min(c.Attempts, supersededBit-1)
	if c.Superseded {
		attempts |= supersededBit
	}
	dst = le.AppendUint32(le.AppendUint32(dst, attempts), uint32(len(c.Reason)))
	return append(append(dst, c.Reason...), c.Payload...)
}

// DecodeCarriedLetter reads the payload of a KindCarriedLetter record; the result points into b.
func DecodeCarriedLetter(b []byte) (CarriedLetter, error) {
	d := decoder{b: b}
	c := CarriedLetter{Index: d.u64(), Time: int64(d.u64()), DiedAt: int64(d.u64()), Attempts: d.u32()}
	c.Attempts, c.Superseded = c.Attempts&^supersededBit, c.Attempts&supersededBit != 0
	c.Reason = string(d.take(int(d.u32())))
	c.Payload = d.b
	d.b = nil
	return c, d.end("carried letter")
}

// Settled is the payload of a KindSettled record: the later fate of a carried dead letter.
type Settled struct {
	Index uint64 // of the write
	Fate  Fate
	Again bool // carried forward out of a released generation: the counters of later heads know it already
}

// Append appends the payload's bytes to dst.
func (s Settled) Append(dst []byte) []byte {
	dst = append(binary.LittleEndian.AppendUint64(dst, s.Index), byte(s.Fate), 0)
	if s.Again {
		dst[len(dst)-1] = 1
	}
	return dst
}

// DecodeSettled reads the payload of a KindSettled record.
func DecodeSettled(b []byte) (Settled, error) {
	d := decoder{b: b}
	s := Settled{Index: d.u64()}
	if f := d.take(2); len(f) == 2 {
		s.Fate, s.Again = Fate(f[0]), f[1] != 0
	}
	return s, d.end("settled")
}

func appendTally(dst []byte, t Tally) []byte {
	for _, v := range [...]uint64{t.Accepted, t.Delivered, t.Dead, t.Dropped, t.Damaged} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

// decoder reads a payload front to back; running out of bytes is noted once and told by end.
type decoder struct {
	b     []byte
	short bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.short, d.b = true, nil
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) u16() uint16 {
	if p := d.take(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if p := d.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) tally() Tally {
	return Tally{Accepted: d.u64(), Delivered: d.u64(), Dead: d.u64(), Dropped: d.u64(), Damaged: d.u64()}
}

func (d *decoder) end(what string) error {
	if d.short || len(d.b) != 0 {
		return fmt.Errorf("%w: payload of a %s record has the wrong length", ErrDamaged, what)
	}
	return nil
}
