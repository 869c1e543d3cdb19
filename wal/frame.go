package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// FormatVersion is the version of the journal's bytes that this build writes and the newest it reads.
const FormatVersion = 1

// The layout of a frame; see the package comment. All numbers are little endian and none of them ever moves.
const (
	frameMagic = 0x4a6d6745 // "EgmJ"

	offMagic    = 0
	offVersion  = 4
	offKind     = 5
	offForm     = 6
	offLane     = 7
	offIndex    = 8
	offBatch    = 16
	offSession  = 24
	offSequence = 40
	offTime     = 48
	offSpaceLen = 56
	offReserved = 57
	offIDLen    = 58
	offPayload  = 60
	offPlace    = 64

	fixedSize = 68 // bytes before the space and the id
	sumSize   = 4
	minFrame  = fixedSize + 2*sumSize
)

// MaxFrame is the length in bytes of the longest frame that is not damage.
const MaxFrame = minFrame + MaxSpace + MaxID + MaxPayload

// maxIndex bounds journal indexes, so that no arithmetic on what a disk says can overflow.
const maxIndex = 1 << 62

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Why bytes are not a frame. Which of them is damage and which the end of a file is the scanner's to say.
var (
	errNoFrame       = errors.New("no frame")
	errHeaderDamaged = errors.New("frame header damaged")
	errNewerVersion  = errors.New("frame of a newer format version")
	errShort         = errors.New("frame cut short")
)

// seal is what the checksums of one generation begin with, so that a frame left over from another journal or another
// generation, or one that a client hid in its own payload, is never taken for a record of this one.
type seal uint32

func newSeal(journal [16]byte, generation uint64) seal {
	var b [24]byte
	copy(b[:], journal[:])
	binary.LittleEndian.PutUint64(b[16:], generation)
	return seal(crc32.Checksum(b[:], castagnoli))
}

func (s seal) sum(b []byte) uint32 { return crc32.Update(uint32(s), castagnoli, b) }

// frameSize is the number of bytes that r takes as a frame.
func frameSize(r *Record) int { return minFrame + len(r.Space) + len(r.ID) + len(r.Payload) }

// appendFrame appends r as a frame to dst; place is r's position in its batch, payloadSum is checksum(r.Payload).
func appendFrame(dst []byte, s seal, r *Record, place, payloadSum uint32) []byte {
	start := len(dst)
	dst = appendHeader(dst, r, place)
	dst = binary.LittleEndian.AppendUint32(dst, payloadSum)
	dst = binary.LittleEndian.AppendUint32(dst, s.sum(dst[start:]))
	return append(dst, r.Payload...)
}

// checksum is the checksum of a payload. It does not depend on the generation, so that an Append can make it before it
// knows which generation will hold the record; the header's own checksum, which covers it, ties it to its place.
func checksum(payload []byte) uint32 { return crc32.Checksum(payload, castagnoli) }

func appendHeader(dst []byte, r *Record, place uint32) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, frameMagic)
	dst = append(dst, FormatVersion, byte(r.Kind), byte(r.Form), byte(r.Lane))
	dst = le.AppendUint64(dst, r.Index)
	dst = le.AppendUint64(dst, r.Batch)
	dst = append(dst, r.Session[:]...)
	dst = le.AppendUint64(dst, r.Sequence)
	dst = le.AppendUint64(dst, uint64(r.Time))
	dst = append(dst, byte(len(r.Space)), 0)
	dst = le.AppendUint16(dst, uint16(len(r.ID)))
	dst = le.AppendUint32(dst, uint32(len(r.Payload)))
	dst = le.AppendUint32(dst, place)
	dst = append(dst, r.Space...)
	return append(dst, r.ID...)
}

// checkRecord refuses what no frame can hold, before it reaches the journal.
func checkRecord(r *Record) error {
	switch {
	case r.Kind == 0 || r.Kind >= kindEnd:
		return fmt.Errorf("wal: record of %v: expected a known kind", r.Kind)
	case r.Form >= formEnd:
		return fmt.Errorf("wal: record of %v: expected a known form", r.Form)
	case len(r.Space) > MaxSpace:
		return fmt.Errorf("wal: memory space of %d bytes: expected at most %d", len(r.Space), MaxSpace)
	case len(r.ID) > MaxID:
		return fmt.Errorf("wal: memory id of %d bytes: expected at most %d", len(r.ID), MaxID)
	case len(r.Payload) > MaxPayload:
		return fmt.Errorf("wal: payload of %d bytes: expected at most %d", len(r.Payload), MaxPayload)
	}
	return nil
}

// header is what a frame's first part says, once its checksum has been found good.
type header struct {
	size  int    // of the whole frame
	body  int    // offset of the payload in the frame
	first uint64 // index of the first record of the same batch
}

// parseHeader reads the header of the frame at the start of b into r, all but the payload. The error wraps errNoFrame,
// errHeaderDamaged, errNewerVersion or errShort; r.ID points into b.
func parseHeader(b []byte, s seal, r *Record) (header, error) {
	le := binary.LittleEndian
	if len(b) < 5 || le.Uint32(b[offMagic:]) != frameMagic {
		return header{}, errNoFrame
	}
	if len(b) < minFrame {
		return header{}, errShort
	}
	space, id, payload := int(b[offSpaceLen]), int(le.Uint16(b[offIDLen:])), int(le.Uint32(b[offPayload:]))
	if id > MaxID || payload > MaxPayload {
		return header{}, errHeaderDamaged
	}
	h := header{body: minFrame + space + id}
	h.size = h.body + payload
	if len(b) < h.body {
		return header{}, errShort
	}
	if s.sum(b[:h.body-sumSize]) != le.Uint32(b[h.body-sumSize:]) {
		return header{}, errHeaderDamaged
	}
	if v := b[offVersion]; v > FormatVersion {
		return h, fmt.Errorf("%w: version %d, this build reads up to %d", errNewerVersion, v, FormatVersion)
	}
	if Kind(b[offKind]) == 0 || Kind(b[offKind]) >= kindEnd || Form(b[offForm]) >= formEnd {
		return header{}, errHeaderDamaged
	}
	index, place := le.Uint64(b[offIndex:]), uint64(le.Uint32(b[offPlace:]))
	if index > maxIndex || place >= index {
		return header{}, errHeaderDamaged
	}
	fillRecord(b, r, space, id)
	h.first = index - place
	return h, nil
}

func fillRecord(b []byte, r *Record, space, id int) {
	le := binary.LittleEndian
	r.Kind, r.Form, r.Lane = Kind(b[offKind]), Form(b[offForm]), Lane(b[offLane])
	r.Index, r.Batch = le.Uint64(b[offIndex:]), le.Uint64(b[offBatch:])
	copy(r.Session[:], b[offSession:])
	r.Sequence, r.Time = le.Uint64(b[offSequence:]), int64(le.Uint64(b[offTime:]))
	if r.Space != string(b[fixedSize:fixedSize+space]) { // a scan over one space allocates its name once
		r.Space = string(b[fixedSize : fixedSize+space])
	}
	r.ID = b[fixedSize+space : fixedSize+space+id : fixedSize+space+id]
	r.Payload = nil
}

// checkPayload verifies the payload of a frame whose header was good and sets r.Payload. The error wraps errShort where
// the frame is longer than b, else ErrDamaged.
func checkPayload(b []byte, h header, r *Record) error {
	if len(b) < h.size {
		return errShort
	}
	p := b[h.body:h.size:h.size]
	if checksum(p) != binary.LittleEndian.Uint32(b[h.body-2*sumSize:]) {
		return fmt.Errorf("%w: checksum of the payload of %d bytes differs", ErrDamaged, len(p))
	}
	r.Payload = p
	return nil
}
