package storetest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Scene is what a recall by context, or by tags, looks at. An episode has no tags, a memory no place and no people.
type Scene struct {
	When   time.Time // zero for none
	Place  string
	People []string
	Tags   []string
}

// RecordIn is Record, and the message says where and when it happened, with whom, and carries the tags, as far as its form
// has room for that.
func RecordIn(scene Scene, form wal.Form, index uint64, space, id, text string, vector []float32) wal.Record {
	var payload []byte
	switch form {
	case wal.FormRemember:
		memory := field(field(field(nil, 1, id), 2, packed(vector)), 6, timestamp(scene.When))
		memory = field(memory, 10, text)
		for _, tag := range scene.Tags {
			memory = field(memory, 20, tag)
		}
		payload = field(field(nil, 1, space), 2, memory)
	case wal.FormExperience:
		payload = field(field(nil, 1, space), 2, episode(scene, id, text, vector))
	default:
		payload = episode(scene, id, text, vector)
	}
	return wal.Record{
		Kind: wal.KindWrite, Form: form, Lane: wal.LaneNormal, Space: space, ID: []byte(id), Payload: payload,
		Index: index, Batch: index, Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(index)).UnixNano(), //nolint:gosec // small
	}
}

func episode(scene Scene, id, text string, vector []float32) []byte {
	b := field(field(nil, 1, id), 2, timestamp(scene.When))
	b = field(field(b, 3, text), 4, packed(vector))
	b = field(b, 10, scene.Place)
	for _, who := range scene.People {
		b = field(b, 11, who)
	}
	return b
}

// timestamp is a google.protobuf.Timestamp, nothing for no time.
func timestamp(at time.Time) []byte {
	if at.IsZero() {
		return nil
	}
	b := binary.AppendUvarint([]byte{1 << 3}, uint64(at.Unix()))          //nolint:gosec // bits
	return binary.AppendUvarint(append(b, 2<<3), uint64(at.Nanosecond())) //nolint:gosec // not negative
}

// noon is when the scenes of the suite begin.
var noon = time.Date(2025, 7, 1, 12, 0, 0, 0, time.UTC)

// scenes stores records of all forms in many scenes and returns them: some without a time, many at the same one.
func (s *subject) scenes(t *testing.T) []wal.Record {
	t.Helper()
	places, people, tags := []string{"", "shed", "pond"}, []string{"ann", "bob", "cem"}, []string{"red", "old", "wet"}
	var records []wal.Record
	for i := range 120 {
		scene := Scene{Place: places[(i/3)%3], People: people[:(i/2)%4], Tags: tags[:(i/5)%4]}
		if i%10 != 9 {
			scene.When = noon.Add(time.Duration((i*37)%50)*time.Minute + time.Duration(i%2))
		}
		s.index++
		id := fmt.Sprintf("scene-%03d", (i*7)%120)
		records = append(records, RecordIn(scene, wal.FormEpisode+wal.Form(i%3), s.index, space, id, "", Vector(s.index)))
	}
	for part := range slices.Chunk(records, 50) {
		s.mustPut(t, part...)
	}
	other := s.next("orchard", "scene-000", "not of this space")
	s.mustPut(t, other)
	return records
}

// meeting returns the ids of those that meet the filter, as a context cue wants them ordered.
func meeting(t *testing.T, records []wal.Record, f store.Filter) (ids []string) {
	t.Helper()
	var moments []store.Moment
	for i := range records {
		var c envelope.Circumstances
		if err := store.CircumstancesOf(records[i].Form, records[i].Payload, &c); err != nil {
			t.Fatal(err)
		}
		if f.Match(&c) {
			moments = append(moments, store.Moment{When: c.When, HasWhen: c.HasWhen, ID: string(records[i].ID)})
		}
	}
	slices.SortFunc(moments, store.Later)
	for _, m := range moments {
		ids = append(ids, m.ID)
	}
	return ids
}
