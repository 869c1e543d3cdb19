package envelope

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

func TestScanEpisodeRefusesOneField(t *testing.T) {
	sample := marshal(t, sampleEpisode())
	when := func(seconds int64, nanos int32) []byte {
		return with(t, func(e *engramv1.Episode) { e.When = &timestamppb.Timestamp{Seconds: seconds, Nanos: nanos} })
	}
	embedding := func(i int, v float32) []byte {
		return with(t, func(e *engramv1.Episode) { e.Embedding[i] = v })
	}
	confidence := func(v float32) []byte {
		return with(t, func(e *engramv1.Episode) { e.EncodingConfidence.Value = v })
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	cases := []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing at all", nil, "embedding: expected 768 dimensions, got 0"},
		{
			"one dimension short", with(t, func(e *engramv1.Episode) { e.Embedding = e.Embedding[:767] }),
			"embedding: expected 768 dimensions, got 767",
		},
		{"one unpacked float too many", join(sample, floatField(4, 1)), "embedding: expected 768 dimensions, got 769"},
		{"NaN", embedding(17, nan), "embedding[17]: expected a finite number, got NaN"},
		{"NaN last", embedding(767, nan), "embedding[767]: expected a finite number, got NaN"},
		{"infinite", embedding(0, inf), "embedding[0]: expected a finite number, got +Inf"},
		{"infinite, unpacked", join(sample, floatField(4, -inf)), "embedding[768]: expected a finite number, got -Inf"},
		{
			"infinite in a second chunk", join(sample, bytesField(4, 0, 0, 0, 0, 0, 0, 0x80, 0x7f)),
			"embedding[769]: expected a finite number, got +Inf",
		},
		{
			"half a float", join(sample, bytesField(4, 1, 2, 3, 4, 5, 6)),
			"embedding: expected packed floats of 4 bytes each, got 6 bytes",
		},
		{"confidence above 1", confidence(1.5), "encoding_confidence.value: expected a number in [0, 1], got 1.5"},
		{"confidence below 0", confidence(-0.25), "encoding_confidence.value: expected a number in [0, 1], got -0.25"},
		{"confidence NaN", confidence(nan), "encoding_confidence.value: expected a number in [0, 1], got NaN"},
		{
			"confidence twice", join(sample, bytesField(5)),
			"encoding_confidence: expected it once, got it twice",
		},
		{
			"confidence with bad text", join(bytesField(5, bytesField(3, 'a', 0xff)...), bytesField(4)),
			"encoding_confidence.reasoning: expected valid UTF-8, got byte 0xff at offset 1",
		},
		{
			"long id", with(t, func(e *engramv1.Episode) { e.Id = strings.Repeat("x", 257) }),
			"id: expected at most 256 bytes, got 257",
		},
		{"id not UTF-8", join(sample, bytesField(1, 'a', 0xc3, 0xa9, 0x80)), "id: expected valid UTF-8, got byte 0x80 at offset 3"},
		{"who not UTF-8", join(sample, bytesField(11, 0xfe)), "who: expected valid UTF-8, got byte 0xfe at offset 0"},
		{
			"before the year 1", when(minSeconds-1, 0),
			"when.seconds: expected -62135596800 to 253402300799 (years 1 to 9999), got -62135596801",
		},
		{
			"after the year 9999", when(maxSeconds+1, 0),
			"when.seconds: expected -62135596800 to 253402300799 (years 1 to 9999), got 253402300800",
		},
		{"nanos too many", when(0, maxNanos+1), "when.nanos: expected 0 to 999999999, got 1000000000"},
		{"nanos negative", when(0, -1), "when.nanos: expected 0 to 999999999, got -1"},
		{"when twice", join(sample, bytesField(2)), "when: expected it once, got it twice"},
		{"last_replay twice", join(bytesField(31), bytesField(31), sample), "last_replay: expected it once, got it twice"},
		{
			"last_replay out of range", join(sample, bytesField(31, varintField(2, 1_000_000_000)...)),
			"last_replay.nanos: expected 0 to 999999999, got 1000000000",
		},
		{"what as a number", join(sample, varintField(3, 1)), "what: expected a run of bytes on the wire, got a varint"},
		{"importance as a text", join(sample, bytesField(22)), "importance: expected 32 fixed bits on the wire, got a run of bytes"},
		{"state as a float", join(sample, floatField(30, 1)), "consolidation_state: expected a varint on the wire, got 32 fixed bits"},
		{"embedding as a group", join(sample, groups(4, 1)), "embedding: expected a run of bytes on the wire, got a group"},
		{
			"seconds as a double",
			bytesField(2, protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), 1)...),
			"when.seconds: expected a varint on the wire, got 64 fixed bits",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var e Episode
			err := ScanEpisode(c.b, &e)
			if _, ok := errors.AsType[*FieldError](err); !ok || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestScanEpisodeRefusesWhatIsNoMessage(t *testing.T) {
	sample := marshal(t, sampleEpisode())
	ends := func(at int) string { return fmt.Sprintf("the data ends in the field at byte %d", at) }
	number := append([]byte{0x78}, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02)
	cases := []struct {
		name string
		b    []byte
		want string // behind "malformed bytes: " unless a field is named
	}{
		{"cut in a tag", join(sample, []byte{0x80}), ends(len(sample))},
		{"cut in a text", sample[:len(sample)-1], ends(len(sample) - len("\x5a\x03bob"))},
		{"cut in a float", join(sample, []byte{0x25, 0, 0}), ends(len(sample))},
		{"field 0", []byte{0x00, 0x00}, "invalid tag in the field at byte 0"},
		{"field above 2^29-1", []byte{0x80, 0x80, 0x80, 0x80, 0x10, 0x00}, "invalid tag in the field at byte 0"},
		{"wire type 7", []byte{0x0f}, "invalid tag in the field at byte 0"},
		{"number of 65 bits", number, "number of more than 64 bits in the field at byte 0"},
		{"end of no group", []byte{0x0c}, "group end without its start in the field at byte 0"},
		{"group ended by another", []byte{0x93, 0x03, 0x9c, 0x03}, "group end without its start in the field at byte 0"},
		{"group without end", []byte{0x93, 0x03, 0x08, 0x01}, "the data ends in the field at byte 0"},
		{"groups 33 deep", groups(50, 33), "groups nested too deep in the field at byte 0"},
		{"a fault in a group", []byte{0x93, 0x03, 0x0f}, "invalid tag in the field at byte 0"},
		{
			"a fault in when", bytesField(2, 0x08, 0x01, 0x10),
			"when: expected a well-formed message, got malformed bytes: the data ends in the field at byte 2",
		},
		{
			"a fault in the confidence", bytesField(5, 0x0f),
			"encoding_confidence: expected a well-formed message, got malformed bytes: invalid tag in the field at byte 0",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var e Episode
			err := ScanEpisode(c.b, &e)
			if !errors.Is(err, ErrMalformed) || strings.TrimPrefix(err.Error(), "malformed bytes: ") != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestScanEpisodeTakes(t *testing.T) {
	sample := marshal(t, sampleEpisode())
	cases := []struct {
		name string
		b    []byte
		id   string
	}{
		{"the sample", sample, "ep-1"},
		{"no id", with(t, func(e *engramv1.Episode) { e.Id = "" }), ""},
		{"an id of 256 bytes", with(t, func(e *engramv1.Episode) { e.Id = strings.Repeat("y", 256) }), strings.Repeat("y", 256)},
		{"a long id, overridden", join(bytesField(1, make([]byte, 300)...), sample), "ep-1"},
		{"an id given last", join(sample, bytesField(1, 'z')), "z"},
		{"groups 32 deep", join(sample, groups(50, 32)), "ep-1"},
		{"unknown fields, not UTF-8", join(bytesField(99, 0xff), sample, varintField(32, 7)), "ep-1"},
		{"the last confidence value counts", with(t, func(e *engramv1.Episode) {
			e.EncodingConfidence.ProtoReflect().SetUnknown(floatField(1, 0.75))
			e.EncodingConfidence.Value = 7
		}), "ep-1"},
		{"a varint longer than it has to be", join(sample, []byte{0xf0, 0x81, 0x00, 0x80, 0x00}), "ep-1"},
		{"the ends of the float range", with(t, func(e *engramv1.Episode) {
			e.Embedding[0], e.Embedding[1] = math.MaxFloat32, -math.MaxFloat32
			e.Embedding[2], e.Embedding[3] = math.SmallestNonzeroFloat32, float32(math.Copysign(0, -1))
		}), "ep-1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var e Episode
			if err := ScanEpisode(c.b, &e); err != nil {
				t.Fatal(err)
			}
			if string(e.ID) != c.id || e.Embedding.Len() != Dimensions || e.Confidence != 0.75 {
				t.Errorf("got id %q, %d floats, confidence %v", e.ID, e.Embedding.Len(), e.Confidence)
			}
		})
	}
}

// TestScanEpisodeForgets fills a used struct again.
func TestScanEpisodeForgets(t *testing.T) {
	var e Episode
	if err := ScanEpisode(marshal(t, sampleEpisode()), &e); err != nil || !e.HasWhen || !e.HasConfidence {
		t.Fatalf("the sample: %v, %+v", err, e)
	}
	bare := &engramv1.Episode{Embedding: vectorOf(3)}
	if err := ScanEpisode(marshal(t, bare), &e); err != nil {
		t.Fatal(err)
	}
	if e.ID != nil || e.What != nil || e.HasWhen || e.HasConfidence || e.When != (Timestamp{}) || e.Confidence != 0 {
		t.Errorf("something of the first episode is left: %+v", e)
	}
}
