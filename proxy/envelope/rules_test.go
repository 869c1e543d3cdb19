package envelope

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// TestRulesAgreeWithTheDefinitions compares each table with the .proto file it stands for, both ways.
func TestRulesAgreeWithTheDefinitions(t *testing.T) {
	memory := (&engramv1.Memory{}).ProtoReflect().Descriptor()
	episode := (&engramv1.Episode{}).ProtoReflect().Descriptor()
	cases := []struct {
		rules *rules
		of    protoreflect.MessageDescriptor
	}{
		{&observationRules, (&engramv1.ObservationRequest{}).ProtoReflect().Descriptor()},
		{&initRules, (&engramv1.StreamInit{}).ProtoReflect().Descriptor()},
		{&flowRules, (&engramv1.FlowControl{}).ProtoReflect().Descriptor()},
		{&closeRules, (&engramv1.StreamClose{}).ProtoReflect().Descriptor()},
		{&rememberRules, (&engramv1.RememberRequest{}).ProtoReflect().Descriptor()},
		{&experienceRules, (&engramv1.ExperienceRequest{}).ProtoReflect().Descriptor()},
		{&episodeRules, episode},
		{&memoryRules, memory},
		{&confidenceRules, (&engramv1.Confidence{}).ProtoReflect().Descriptor()},
		{&timestampRules, episode.Fields().ByName("when").Message()},
		{&metadataRules, memory.Fields().ByName("metadata").Message()},
	}
	for _, c := range cases {
		t.Run(string(c.of.Name()), func(t *testing.T) {
			known := 0
			for num := range c.rules {
				rule := c.rules[num]
				if rule.kind == unknown {
					continue
				}
				known++
				fd := c.of.Fields().ByNumber(protoreflect.FieldNumber(num))
				if fd == nil || string(fd.Name()) != rule.name || kindOf(fd) != rule.kind {
					t.Errorf("rule %d is %v, the definition says %v", num, rule, fd)
				}
			}
			if known != c.of.Fields().Len() {
				t.Errorf("%d rules for %d fields", known, c.of.Fields().Len())
			}
		})
	}
}

func kindOf(fd protoreflect.FieldDescriptor) kind {
	switch {
	case fd.Kind() == protoreflect.StringKind:
		return text
	case fd.Kind() == protoreflect.MessageKind && fd.IsList(), fd.IsMap():
		return entries
	case fd.Kind() == protoreflect.MessageKind:
		return message
	case fd.Kind() == protoreflect.FloatKind && fd.IsList():
		return floats
	case fd.Kind() == protoreflect.FloatKind:
		return single
	default:
		return varint
	}
}

// TestEnumsAgreeWithTheDefinitions compares the constants with the generated ones, by name and number.
func TestEnumsAgreeWithTheDefinitions(t *testing.T) {
	cases := []struct {
		name   string
		number int32
		want   map[string]int32
	}{
		{"STATUS_ACCEPTED", int32(AckAccepted), engramv1.ObservationAck_Status_value},
		{"STATUS_INDEXED", int32(AckIndexed), engramv1.ObservationAck_Status_value},
		{"STATUS_REJECTED", int32(AckRejected), engramv1.ObservationAck_Status_value},
		{"STATE_ACTIVE", int32(StateActive), engramv1.StreamStatus_State_value},
		{"STATE_PAUSED", int32(StatePaused), engramv1.StreamStatus_State_value},
		{"STATE_BACKPRESSURE", int32(StateBackpressure), engramv1.StreamStatus_State_value},
		{"STATE_OVERLOADED", int32(StateOverloaded), engramv1.StreamStatus_State_value},
		{"STATE_ERROR", int32(StateError), engramv1.StreamStatus_State_value},
		{"STATE_CLOSED", int32(StateClosed), engramv1.StreamStatus_State_value},
	}
	for _, c := range cases {
		if want, ok := c.want[c.name]; !ok || want != c.number {
			t.Errorf("%s is %d here, %d (%v) in the definition", c.name, c.number, want, ok)
		}
	}
	for number, name := range engramv1.FlowControl_Action_name {
		if got := FlowAction(number).String(); got != strings.TrimPrefix(name, "ACTION_") {
			t.Errorf("action %d is %s here, %s in the definition", number, got, name)
		}
	}
}
