package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/pgvector/pgvector-go"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// The columns of a memory, in the order of the parameters of the insert.
const columns = "space, id, journal, version, accepted_at, form, happened_at, happened_nanos, location, participants, tags, " +
	"content, body, body_hole, embedding"

// columnTypes are their types. The server knows the last one by its cast: pgvector's has no number of its own.
var columnTypes = []uint32{
	pgtype.TextOID, pgtype.TextOID, pgtype.UUIDOID, pgtype.Int8OID, pgtype.TimestamptzOID, pgtype.Int2OID, pgtype.TimestamptzOID,
	pgtype.Int2OID, pgtype.TextOID, pgtype.TextArrayOID, pgtype.TextArrayOID, pgtype.TextOID, pgtype.ByteaOID, pgtype.Int4OID, 0,
}

// binaryFormat is the format of all parameters and of all results.
var binaryFormat = []int16{1}

// reader takes records apart; what it keeps between them is memory.
type reader struct {
	journal       []byte
	circumstances envelope.Circumstances
	floats        []float32
}

// content is what the edge's scanners see in a payload.
type content struct {
	text      []byte
	embedding envelope.Vector
}

// row makes the parameters of a record's insert. An error says that no store could take it.
func (rd *reader) row(r *wal.Record) ([][]byte, error) {
	c, err := scan(r)
	if err != nil {
		return nil, fmt.Errorf("record %d is not storable: %w", r.Index, err)
	}
	if err := store.CircumstancesOf(r.Form, r.Payload, &rd.circumstances); err != nil {
		return nil, fmt.Errorf("record %d is not storable: %w", r.Index, err)
	}
	at := &rd.circumstances
	body, hole := cut(r.Payload, &c)
	rd.floats = c.embedding.AppendFloats(rd.floats[:0])
	vector, err := pgvector.NewVector(rd.floats).EncodeBinary(nil)
	if err != nil {
		return nil, fmt.Errorf("record %d: %w", r.Index, err)
	}
	when, nanos := moment(at)
	return [][]byte{
		[]byte(r.Space), r.ID, rd.journal, int8Of(int64(r.Index)), timestampOf(time.Unix(0, r.Time)), int2Of(int16(r.Form)), //nolint:gosec // never so many
		when, nanos, textOf(at.Place), textArrayOf(at.People), textArrayOf(at.Tags), textOf(c.text), body, hole, vector,
	}, nil
}

// scan reads text and embedding out of a payload.
func scan(r *wal.Record) (c content, err error) {
	switch r.Form {
	case wal.FormEpisode:
		var m envelope.Episode
		err = envelope.ScanEpisode(r.Payload, &m)
		return content{m.What, m.Embedding}, err
	case wal.FormRemember:
		var m envelope.Remember
		err = envelope.ScanRemember(r.Payload, &m)
		return content{m.Text, m.Embedding}, err
	case wal.FormExperience:
		var m envelope.Experience
		err = envelope.ScanExperience(r.Payload, &m)
		return content{m.Text, m.Embedding}, err
	default:
		return c, fmt.Errorf("form: expected an Episode, a RememberRequest or an ExperienceRequest, got %v", r.Form)
	}
}

// cut takes the vector out of a payload, where it lies in one piece; hole is where it was. Else the payload stays whole and
// hole is NULL.
func cut(payload []byte, c *content) (body, hole []byte) {
	floats, _, ok := c.embedding.Packed()
	if !ok {
		return payload, nil
	}
	at := bytes.Index(payload, floats) // were they there twice, either place would do
	body = make([]byte, 0, len(payload)-len(floats))
	body = append(append(body, payload[:at]...), payload[at+len(floats):]...)
	return body, int4Of(int32(at)) //nolint:gosec // at most wal.MaxPayload
}

// join undoes cut.
func join(body []byte, hole int, embedding []float32) []byte {
	payload := make([]byte, 0, len(body)+4*len(embedding))
	payload = append(payload, body[:hole]...)
	for _, f := range embedding {
		payload = binary.LittleEndian.AppendUint32(payload, math.Float32bits(f))
	}
	return append(payload, body[hole:]...)
}

// moment splits when a memory happened into what a timestamptz can hold, microseconds, and the nanoseconds beyond. Both are
// NULL where the client has not said it.
func moment(c *envelope.Circumstances) (when, nanos []byte) {
	if !c.HasWhen {
		return nil, nil
	}
	return momentOf(c.When.Time())
}

func momentOf(at time.Time) (when, nanos []byte) {
	return timestampOf(at), int2Of(int16(at.Nanosecond() % int(time.Microsecond)))
}

// epoch is PostgreSQL's, in seconds of Unix'.
const epoch = 946_684_800

// timestampOf counts microseconds; the rest is cut off. Seconds and fraction are apart: nanoseconds of an int64 end in 2262.
func timestampOf(at time.Time) []byte {
	return int8Of((at.Unix()-epoch)*int64(time.Second/time.Microsecond) + int64(at.Nanosecond()/int(time.Microsecond)))
}

func timeOf(b []byte) time.Time {
	micros := int64(binary.BigEndian.Uint64(b)) //nolint:gosec // bits
	return time.UnixMicro(micros + epoch*int64(time.Second/time.Microsecond))
}

func int8Of(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) } //nolint:gosec // bits
func int4Of(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) } //nolint:gosec // bits
func int2Of(n int16) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) } //nolint:gosec // bits

// textOf prepares a text for a column that is there to be searched and read: PostgreSQL has no character zero, and shows it
// as U+FFFD here. The payload keeps it. An id is not prepared: two could become one.
func textOf[T string | []byte](text T) []byte {
	return []byte(strings.ReplaceAll(string(text), "\x00", "\uFFFD"))
}

// textArrayOf encodes a text[].
func textArrayOf[T string | []byte](texts []T) []byte {
	b := make([]byte, 0, 20)
	if len(texts) == 0 {
		return binary.BigEndian.AppendUint32(append(b, make([]byte, 8)...), pgtype.TextOID) // no dimension
	}
	for _, n := range []int{1, 0, pgtype.TextOID, len(texts), 1} { // dimensions, no NULLs, type, length, first place
		b = binary.BigEndian.AppendUint32(b, uint32(n)) //nolint:gosec // small
	}
	for _, text := range texts {
		element := textOf(text)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(element))), element...) //nolint:gosec // at most a payload
	}
	return b
}
