package embedded

import (
	"bytes"
	"fmt"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// batch is what one Put is about to write. It belongs to the writer, and is used again for the next one.
type batch struct {
	entries []entry
	waiting []int          // items whose answer is the commit's
	seen    map[string]int // space and id → entry
	spaces  []string       // that have no number yet
	rows    []row
	touched []*segment
	key     []byte
	vectors []byte // to be written
	bodies  []byte
}

// entry is one memory to be written.
type entry struct {
	record   *wal.Record
	id       []byte
	vector   envelope.Vector
	space    uint32
	hash     uint64
	replaces uint32
}

// keptBuffer bounds what a batch keeps of its buffers for the next one, in bytes.
const keptBuffer = 8 << 20

// reset empties the batch. It holds on to nothing of the records that were in it.
func (b *batch) reset() {
	if b.seen == nil {
		b.seen = map[string]int{}
	}
	clear(b.seen)
	clear(b.entries) // lets go of payloads
	clear(b.touched)
	b.entries, b.waiting, b.spaces, b.rows, b.touched = b.entries[:0], b.waiting[:0], b.spaces[:0], b.rows[:0], b.touched[:0]
	if cap(b.vectors) > keptBuffer {
		b.vectors = nil
	}
	if cap(b.bodies) > keptBuffer {
		b.bodies = nil
	}
}

// add takes an item into the batch, unless the store has it already: then its answer is final. An error refuses the item.
func (s *Store) add(b *batch, item int, rec *wal.Record) error {
	id, vector, err := examine(rec)
	if err != nil {
		return store.Permanent(err)
	}
	b.key = append(append(append(b.key[:0], byte(len(rec.Space))), rec.Space...), id...) //nolint:gosec // at most maxSpace
	if i, ok := b.seen[string(b.key)]; ok {
		if e := &b.entries[i]; e.record.Index < rec.Index {
			e.record, e.id, e.vector = rec, id, vector
		}
		b.waiting = append(b.waiting, item)
		return nil
	}
	e := entry{record: rec, id: id, vector: vector, hash: hashOf(rec.Space, id)}
	if older, ok := s.lookup(e.hash, rec.Space, id); ok {
		version := s.rowAt(older).version
		if version > rec.Index || (version == rec.Index && s.intact(older)) {
			return nil
		}
		e.replaces = older + 1
	}
	e.space = s.spaceFor(b, rec.Space)
	b.seen[string(b.key)] = len(b.entries)
	b.entries = append(b.entries, e)
	b.waiting = append(b.waiting, item)
	return nil
}

// spaceFor returns the number of a space, or the one it will have when the batch is committed.
func (s *Store) spaceFor(b *batch, name string) uint32 {
	if sp, ok := s.spaces[name]; ok {
		return sp.number
	}
	for i, known := range b.spaces {
		if known == name {
			return uint32(len(s.numbered) + i) //nolint:gosec // each space has a row, and rows have 32 bits
		}
	}
	b.spaces = append(b.spaces, name)
	return uint32(len(s.numbered) + len(b.spaces) - 1) //nolint:gosec // each space has a row, and rows have 32 bits
}

// examine refuses what can never be stored, and returns the memory's id and its vector.
func examine(rec *wal.Record) (id []byte, vector envelope.Vector, err error) {
	switch {
	case rec.Index == 0:
		return nil, vector, fmt.Errorf("index: expected the record's place in the journal, got 0")
	case len(rec.Space) == 0 || len(rec.Space) > maxSpace:
		return nil, vector, fmt.Errorf("memory space: expected a name of 1 to %d bytes, got %d", maxSpace, len(rec.Space))
	case len(rec.Payload) > wal.MaxPayload:
		return nil, vector, fmt.Errorf("payload: expected at most %d bytes, got %d", wal.MaxPayload, len(rec.Payload))
	}
	if id, vector, err = scan(rec); err != nil {
		return nil, vector, err
	}
	if len(rec.ID) > 0 {
		id = rec.ID
	}
	if len(id) == 0 || len(id) > maxID {
		return nil, vector, fmt.Errorf("memory id: expected 1 to %d bytes, got %d", maxID, len(id))
	}
	return id, vector, nil
}

func scan(rec *wal.Record) (id []byte, vector envelope.Vector, err error) {
	switch rec.Form {
	case wal.FormEpisode:
		var m envelope.Episode
		err = envelope.ScanEpisode(rec.Payload, &m)
		return m.ID, m.Embedding, err
	case wal.FormRemember:
		var m envelope.Remember
		err = envelope.ScanRemember(rec.Payload, &m)
		return m.ID, m.Embedding, err
	case wal.FormExperience:
		var m envelope.Experience
		err = envelope.ScanExperience(rec.Payload, &m)
		return m.ID, m.Embedding, err
	default:
		return nil, vector, fmt.Errorf("form: expected an Episode, a RememberRequest or an ExperienceRequest, got %v", rec.Form)
	}
}

// encode appends an entry's vector and body to what will be written, and returns its row. BodyAt is where the body will stand.
func (b *batch) encode(e *entry, number uint32, bodyAt, now int64) row {
	start := len(b.vectors)
	rec := e.record
	out := body{
		row: number, version: rec.Index, at: now, form: rec.Form, space: []byte(rec.Space), id: e.id, stored: rec.Payload,
	}
	packed, _, ok := e.vector.Packed()
	if ok {
		b.vectors = append(b.vectors, packed...)
		if at := bytes.Index(rec.Payload, packed); at >= 0 {
			out.stored, out.behind, out.hole = rec.Payload[:at], rec.Payload[at+vectorBytes:], uint32(at)+1 //nolint:gosec // below wal.MaxPayload
		}
	} else {
		b.vectors = appendFloats(b.vectors, e.vector.AppendFloats(nil))
	}
	raw := b.vectors[start:]
	out.sum, out.scale = checksum(raw), scaleOf(raw)
	b.bodies = appendBody(b.bodies, &out)
	return row{
		version: rec.Index, at: now, hash: e.hash, offset: uint64(bodyAt), length: out.length, //nolint:gosec // an offset in a file
		space: e.space, replaces: e.replaces, sum: out.sum, scale: out.scale,
	}
}
