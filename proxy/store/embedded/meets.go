package embedded

import (
	"errors"
	"fmt"
	"io"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// meets judges stored memories by a filter. What it looks at stands in their bodies, which are read for it.
type meets struct{ filter store.Filter }

// bodyReader reads bodies, many of them one after the other, into buffers that are used again. It belongs to one goroutine.
type bodyReader struct {
	window []byte // bytes of a bodies file
	seg    *segment
	at     int64 // where in it the window begins

	message []byte // of the last body, whole but for the numbers of its vector
	scene   envelope.Circumstances
}

// windowBytes is how much of a bodies file is read at once where one body after the other is asked for.
const windowBytes = 256 << 10

// row says whether a row meets the filter. One that cannot be read is marked as damaged, and does not.
func (m *meets) row(s *Store, seg *segment, place int, r *bodyReader) bool {
	var b body
	if err := r.scan(s, seg, place, 0, &b); err != nil {
		s.markDamaged(seg, place, err)
		return false
	}
	return m.filter.Match(&r.scene)
}

// scan reads the circumstances of a row into r.scene; they are views that end with the next scan. Ahead is how many bytes
// behind the body are read with it, since they will be asked for.
func (r *bodyReader) scan(s *Store, seg *segment, place int, ahead int64, b *body) error {
	row := &seg.rows[place]
	raw, err := r.bytes(seg, int64(row.offset), int64(row.length), ahead) //nolint:gosec // an offset in a file
	if err != nil {
		return err
	}
	if err := decodeBody(raw, b); err != nil {
		return err
	}
	if s.layout.placeOf(b.row) != place || b.version != row.version || b.sum != row.sum {
		return errAlien
	}
	if err := store.CircumstancesOf(b.form, r.whole(b), &r.scene); err != nil {
		return fmt.Errorf("%w: %w", errStored, err)
	}
	return nil
}

// bytes returns a part of a bodies file.
func (r *bodyReader) bytes(seg *segment, at, length, ahead int64) ([]byte, error) {
	if r.seg == seg && at >= r.at && at+length <= r.at+int64(len(r.window)) {
		return r.window[at-r.at : at-r.at+length], nil
	}
	want := max(length, min(length+ahead, windowBytes))
	if int64(cap(r.window)) < want {
		r.window = make([]byte, want)
	}
	r.window, r.seg, r.at = r.window[:want], seg, at
	n, err := seg.bodies.ReadAt(r.window, at)
	r.window = r.window[:n]
	if int64(n) < length {
		r.seg = nil
		if err == nil || errors.Is(err, io.EOF) {
			err = errShort
		}
		return nil, fmt.Errorf("read %s at %d: %w", seg.bodies.Name(), at, err)
	}
	return r.window[:length], nil
}

// whole puts a message together so that it can be walked: where its vector was there is room, with anything in it.
func (r *bodyReader) whole(b *body) []byte {
	if b.hole == 0 {
		return b.stored
	}
	at := int(b.hole - 1)
	n := len(b.stored) + vectorBytes
	if cap(r.message) < n {
		r.message = make([]byte, n+n/2)
	}
	r.message = r.message[:n]
	copy(r.message, b.stored[:at])
	copy(r.message[at+vectorBytes:], b.stored[at:])
	return r.message
}
