package envelope

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// kind is what a known field has to be on the wire.
type kind uint8

const (
	unknown kind = iota
	text         // string, once or repeated; valid UTF-8
	message      // an embedded message that may come once: decoders would merge two
	entries      // embedded messages that may come often: a map
	varint       // bool, enum, integers
	single       // float
	floats       // repeated float, packed or not
)

// wireType returns how a field of this kind is written by preference.
func (k kind) wireType() protowire.Type {
	switch k {
	case varint:
		return protowire.VarintType
	case single:
		return protowire.Fixed32Type
	default:
		return protowire.BytesType
	}
}

type rule struct {
	name string
	kind kind
}

// rules are the fields of a message by number; all numbers that engram.v1 uses in what is scanned here are below 32. A
// number without a rule is unknown: well formed, and passed over.
type rules [32]rule

var (
	observationRules = rules{
		1: {"memory_space_id", text}, 2: {"init", message}, 3: {"observation", message}, 4: {"flow", message},
		5: {"close", message}, 10: {"session_id", text}, 11: {"sequence_number", varint},
	}
	memoryFlowRules = rules{
		1: {"memory_space_id", text}, 2: {"remember", message}, 3: {"recall", message}, 4: {"subscribe", message},
		5: {"control", message}, 10: {"session_id", text}, 11: {"sequence_number", varint},
	}
	initRules = rules{
		1: {"client_buffer_size", varint}, 2: {"enable_backpressure", varint}, 3: {"max_batch_size", varint},
	}
	flowRules = rules{
		1: {"action", varint}, 2: {"buffer_remaining", varint}, 3: {"preferred_rate", single}, 4: {"reason", text},
	}
	closeRules = rules{1: {"drain_queue", varint}, 2: {"last_sequence", varint}}

	rememberRules = rules{
		1: {"memory_space_id", text}, 2: {"memory", message}, 3: {"episode", message}, 10: {"auto_link", varint},
		11: {"link_threshold", single},
	}
	experienceRules = rules{
		1: {"memory_space_id", text}, 2: {"episode", message}, 3: {"immediate_consolidation", varint},
		4: {"context_links", text},
	}
	episodeRules = rules{
		1: {"id", text}, 2: {"when", message}, 3: {"what", text}, 4: {"embedding", floats},
		5: {"encoding_confidence", message}, 10: {"where_location", text}, 11: {"who", text}, 12: {"why", text},
		13: {"how", text}, 20: {"decay_rate", single}, 21: {"emotional_valence", single}, 22: {"importance", single},
		30: {"consolidation_state", varint}, 31: {"last_replay", message},
	}
	memoryRules = rules{
		1: {"id", text}, 2: {"embedding", floats}, 3: {"activation", single}, 4: {"confidence", message},
		5: {"last_access", message}, 6: {"created_at", message}, 7: {"decay_rate", single}, 10: {"content", text},
		11: {"metadata", entries}, 20: {"tags", text}, 21: {"memory_type", varint},
	}
	confidenceRules = rules{1: {"value", single}, 2: {"category", varint}, 3: {"reasoning", text}}
	timestampRules  = rules{1: {"seconds", varint}, 2: {"nanos", varint}}
	metadataRules   = rules{1: {"key", text}, 2: {"value", text}}
)

// check refuses a field that a decoder somewhere would refuse, or read otherwise than another. Seen holds a bit for each
// embedded message of this walk that has come already.
func (t *rules) check(f *field, seen *uint32) error {
	if int(f.num) >= len(t) {
		return nil
	}
	want := &t[f.num]
	if !t.fits(f) {
		return wrongType(want, f.typ)
	}
	switch want.kind {
	case text:
		if !utf8.Valid(f.data) {
			return notUTF8(want.name, f.data)
		}
	case message:
		bit := uint32(1) << f.num
		if *seen&bit != 0 {
			return &FieldError{Field: want.name, Expected: "it once", Got: "it twice"}
		}
		*seen |= bit
	default:
	}
	return nil
}

// fits says whether a field has the wire type its rule wants, or no rule. Floats may come packed and one by one.
func (t *rules) fits(f *field) bool {
	if int(f.num) >= len(t) {
		return true
	}
	k := t[f.num].kind
	return k == unknown || f.typ == k.wireType() || (k == floats && f.typ == protowire.Fixed32Type)
}

func wrongType(want *rule, got protowire.Type) error {
	names := [...]string{
		protowire.VarintType: "a varint", protowire.Fixed64Type: "64 fixed bits", protowire.BytesType: "a run of bytes",
		protowire.StartGroupType: "a group", protowire.EndGroupType: "the end of a group", protowire.Fixed32Type: "32 fixed bits",
	}
	return &FieldError{Field: want.name, Expected: names[want.kind.wireType()] + " on the wire", Got: names[got]}
}

func notUTF8(name string, b []byte) error {
	at := 0
	for at < len(b) {
		r, n := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	got := fmt.Sprintf("byte 0x%02x at offset %s", b[at], strconv.Itoa(at))
	return &FieldError{Field: name, Expected: "valid UTF-8", Got: got}
}
