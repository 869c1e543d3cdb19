package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// A body is everything of a memory but its vector, as it stands in a bodies file; doc.go draws it. It names its own row,
// space, id and version, so that the index can be made anew from the segments alone.
type body struct {
	row     uint32
	version uint64
	at      int64
	form    wal.Form
	space   []byte
	id      []byte
	stored  []byte  // the payload without the vector, if the vector was in it in one piece
	behind  []byte  // the part of it behind the vector, when it is written; nil when it was read
	hole    uint32  // 1 + where in the payload the vector belongs; 0 where stored is the whole payload
	sum     uint32  // CRC32C of the vector
	scale   float32 // as in row

	storedSum uint32 // CRC32C of stored; set by decodeHead
	storedLen uint32
	length    uint32 // of the whole body; set by appendBody and decodeHead
}

const (
	bodyMagic = 0x59444f42 // "BODY"
	bodyHead  = 64         // bytes before space and id
	bodyAlign = 8
	maxSpace  = wal.MaxSpace
	maxID     = wal.MaxID
	// longestHead is enough of a body to know whose it is.
	longestHead = bodyHead + maxSpace + maxID
	// longestBody bounds what a length field can make us read. Unpacked embeddings stay in the payload, so it may be all of it.
	longestBody = longestHead + wal.MaxPayload + bodyAlign
)

var (
	errHead   = errors.New("the head's checksum does not match")
	errStored = errors.New("the body's checksum does not match")
)

// appendBody appends b as it stands on disk and sets b.length.
func appendBody(dst []byte, b *body) []byte {
	stored := len(b.stored) + len(b.behind)
	n := bodyHead + len(b.space) + len(b.id) + stored
	b.length = uint32((n + bodyAlign - 1) &^ (bodyAlign - 1)) //nolint:gosec // at most longestBody
	start := len(dst)
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, bodyMagic)
	dst = le.AppendUint32(dst, 0) // the head's checksum, below
	dst = le.AppendUint32(dst, b.row)
	dst = le.AppendUint32(dst, b.length)
	dst = le.AppendUint64(dst, b.version)
	dst = le.AppendUint64(dst, uint64(b.at)) //nolint:gosec // decodeHead takes the same 64 bits for an int64 again
	dst = le.AppendUint32(dst, b.sum)
	dst = le.AppendUint32(dst, crcUpdate(checksum(b.stored), b.behind))
	dst = le.AppendUint32(dst, uint32(stored)) //nolint:gosec // at most wal.MaxPayload
	dst = le.AppendUint32(dst, b.hole)
	dst = le.AppendUint32(dst, math.Float32bits(b.scale))
	dst = le.AppendUint16(dst, uint16(len(b.id)))       //nolint:gosec // at most maxID
	dst = append(dst, byte(len(b.space)), byte(b.form)) //nolint:gosec // at most maxSpace
	dst = le.AppendUint64(dst, 0)                       // unused
	dst = append(append(dst, b.space...), b.id...)
	le.PutUint32(dst[start+4:], checksum(dst[start+8:]))
	dst = append(append(dst, b.stored...), b.behind...)
	return append(dst, make([]byte, int(b.length)-n)...)
}

// decodeHead reads a body's head, with space and id, out of the first bytes of b; it needs longestHead of them, or all
// there are. Space and id are views into b.
func decodeHead(b []byte, d *body) error {
	if len(b) < bodyHead || binary.LittleEndian.Uint32(b) != bodyMagic {
		return errors.New("no body begins here")
	}
	le := binary.LittleEndian
	*d = body{
		row: le.Uint32(b[8:]), length: le.Uint32(b[12:]), version: le.Uint64(b[16:]),
		at:  int64(le.Uint64(b[24:])), //nolint:gosec // the int64 that encode wrote
		sum: le.Uint32(b[32:]), storedSum: le.Uint32(b[36:]), storedLen: le.Uint32(b[40:]), hole: le.Uint32(b[44:]),
		scale: math.Float32frombits(le.Uint32(b[48:])), form: wal.Form(b[55]),
	}
	id, space := int(le.Uint16(b[52:])), int(b[54])
	if id > maxID || space > maxSpace || len(b) < bodyHead+space+id {
		return fmt.Errorf("%w: lengths of %d and %d bytes for space and id", errHead, space, id)
	}
	if checksum(b[8:bodyHead+space+id]) != le.Uint32(b[4:]) {
		return errHead
	}
	d.space = b[bodyHead : bodyHead+space]
	d.id = b[bodyHead+space : bodyHead+space+id]
	if d.length > longestBody || int(d.length) < bodyHead+space+id+int(d.storedLen) || (d.hole > 0 && d.hole-1 > d.storedLen) {
		return fmt.Errorf("%w: length %d for %d bytes", errHead, d.length, d.storedLen)
	}
	return nil
}

// decodeBody reads a whole body and verifies it; stored is a view into b.
func decodeBody(b []byte, d *body) error {
	if err := decodeHead(b, d); err != nil {
		return err
	}
	start := bodyHead + len(d.space) + len(d.id)
	if len(b) < int(d.length) {
		return errStored
	}
	d.stored = b[start : start+int(d.storedLen)]
	if checksum(d.stored) != d.storedSum {
		return errStored
	}
	return nil
}

// payload puts the client's bytes together again; vector is the row's, as it lies on disk.
func (b *body) payload(vector []byte) []byte {
	if b.hole == 0 {
		return append([]byte(nil), b.stored...)
	}
	at := b.hole - 1
	out := make([]byte, 0, len(b.stored)+len(vector))
	out = append(out, b.stored[:at]...)
	out = append(out, vector...)
	return append(out, b.stored[at:]...)
}
