package ledger

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Every value in the file ends in a checksum over its key and itself, for bbolt has none over its pages.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sealValue(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return binary.LittleEndian.AppendUint32(value, sum)
}

func openValue(key, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 {
		return nil, fmt.Errorf("%w: value of key %x is %d bytes long", ErrDamaged, key, len(sealed))
	}
	value, sum := sealed[:len(sealed)-4], binary.LittleEndian.Uint32(sealed[len(sealed)-4:])
	if crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value) != sum {
		return nil, fmt.Errorf("%w: checksum of key %x differs", ErrDamaged, key)
	}
	return value, nil
}

// key64 is a number as a key, in an order that bbolt keeps.
func key64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func parseKey(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: number %x is %d bytes long, expected 8", ErrDamaged, b, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

// encode is the value of a generation: base, how many odd fates, these, and the bitmap of the settled.
func (g *generation) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(nil, g.base)
	b = le.AppendUint32(b, uint32(len(g.odd)))
	for i, f := range g.odd {
		b = append(le.AppendUint32(b, uint32(i)), byte(f))
	}
	return g.settled.append(b)
}

func decodeGeneration(b []byte) (*knownGeneration, error) {
	le := binary.LittleEndian
	if len(b) < 12 {
		return nil, fmt.Errorf("%w: account of a generation is %d bytes long", ErrDamaged, len(b))
	}
	g := &knownGeneration{base: le.Uint64(b), odd: map[uint64]wal.Fate{}}
	n := uint64(le.Uint32(b[8:]))
	b = b[12:]
	if n*5 > uint64(len(b)) {
		return nil, fmt.Errorf("%w: account of a generation names %d fates in %d bytes", ErrDamaged, n, len(b))
	}
	for ; n > 0; n-- {
		g.odd[uint64(le.Uint32(b))] = wal.Fate(b[4])
		b = b[5:]
	}
	g.settled = parseBitmap(b)
	return g, nil
}

// encode is the value of a session: last sequence, closed at, lane, space.
func (s *Session) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(nil, s.Last)
	closed := int64(0)
	if s.Closed {
		closed = s.ClosedAt.UnixNano()
	}
	b = le.AppendUint64(b, uint64(closed))
	return append(append(b, byte(s.Lane)), s.Space...)
}

func decodeSession(id, b []byte) (Session, error) {
	if len(b) < 17 || len(id) != 16 {
		return Session{}, fmt.Errorf("%w: session %x is %d bytes long", ErrDamaged, id, len(b))
	}
	le := binary.LittleEndian
	s := Session{ID: wal.SessionID(id), Last: le.Uint64(b), Lane: wal.Lane(b[16]), Space: string(b[17:])}
	if at := int64(le.Uint64(b[8:])); at != 0 {
		s.Closed, s.ClosedAt = true, time.Unix(0, at)
	}
	return s, nil
}

// encode is the value of a dead letter: form, lane, session, sequence, the lengths of space and id, these, and the letter
// as the journal carries it.
func (l *Letter) encode() []byte {
	b := append([]byte{byte(l.Form), byte(l.Lane)}, l.Session[:]...)
	b = binary.LittleEndian.AppendUint64(b, l.Sequence)
	b = append(b, byte(len(l.Space)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(l.ID)))
	b = append(append(b, l.Space...), l.ID...)
	return l.carried().Append(b)
}

// decodeLetter is encode's inverse; the result points into b.
func decodeLetter(b []byte) (*Letter, error) {
	const fixed = 2 + 16 + 8 + 1 + 2
	if len(b) < fixed {
		return nil, fmt.Errorf("%w: dead letter is %d bytes long", ErrDamaged, len(b))
	}
	le := binary.LittleEndian
	space, id := int(b[26]), int(le.Uint16(b[27:]))
	if len(b) < fixed+space+id {
		return nil, fmt.Errorf("%w: dead letter is %d bytes long", ErrDamaged, len(b))
	}
	r := wal.Record{
		Kind: wal.KindCarriedLetter, Form: wal.Form(b[0]), Lane: wal.Lane(b[1]), Session: wal.SessionID(b[2:18]),
		Sequence: le.Uint64(b[18:]), Space: string(b[fixed : fixed+space]), ID: b[fixed+space : fixed+space+id],
		Payload: b[fixed+space+id:],
	}
	l, err := letterOf(&r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return l, nil
}

// encodeTotals is the value of the totals: the tally of released generations and that of all.
func encodeTotals(released, total wal.Tally) []byte {
	var n []uint64
	for _, t := range [...]wal.Tally{released, total} {
		n = append(n, t.Accepted, t.Delivered, t.Dead, t.Dropped, t.Damaged)
	}
	return encodeNumbers(n)
}

func decodeTotals(n [10]uint64) (released, total wal.Tally) {
	tally := func(n []uint64) wal.Tally {
		return wal.Tally{Accepted: n[0], Delivered: n[1], Dead: n[2], Dropped: n[3], Damaged: n[4]}
	}
	return tally(n[:5]), tally(n[5:])
}

func encodeNumbers(numbers []uint64) (b []byte) {
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

func decodeNumbers(b []byte, numbers []uint64) error {
	if len(b) != 8*len(numbers) {
		return fmt.Errorf("%w: %d bytes of numbers, expected %d", ErrDamaged, len(b), 8*len(numbers))
	}
	for i := range numbers {
		numbers[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return nil
}
