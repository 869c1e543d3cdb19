package proto

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

//go:embed testdata/wire.txt
var wireTable string

// TestWireFormatIsTheFixedOne compares the generated descriptors with the table, row by row and in both directions: a
// number, name, type or oneof that differs is an error, and so is a row or a definition that only one of them has.
func TestWireFormatIsTheFixedOne(t *testing.T) {
	want, err := parseTable(wireTable)
	if err != nil {
		t.Fatal(err)
	}
	got := describe(engramv1.File_engram_v1_memory_proto, engramv1.File_engram_v1_service_proto)

	if len(want) != 510 {
		t.Errorf("testdata/wire.txt gives %d rows, the protocol has 510", len(want))
	}
	for _, diff := range differences(want, got) {
		t.Error(diff)
	}
}

// TestWireTestCanFail proves that a changed number, type, oneof and a missing or added row are each noticed.
func TestWireTestCanFail(t *testing.T) {
	genuine, err := parseTable(wireTable)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, from, to string }{
		{"field number", "3 reasoning string", "4 reasoning string"},
		{"field type", "11 max_results int32", "11 max_results uint32"},
		{"cardinality", "2 embedding repeated float", "2 embedding float"},
		{"oneof left", "3 episode Episode, one of memory_type", "3 episode Episode"},
		{"map value", "3 state_changes map<string,ConsolidationState>", "3 state_changes map<string,string>"},
		{"enum number", "4 ACTION_SPEED_UP", "9 ACTION_SPEED_UP"},
		{"streaming", "rpc RecallStream = StreamingRecallRequest -> stream", "rpc RecallStream = StreamingRecallRequest -> "},
		{"row missing", "; 12 server_timestamp Timestamp", ""},
		{"row added", "message PeopleList = ", "message PeopleList = 9 extra bool; "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed, err := parseTable(strings.Replace(wireTable, tc.from, tc.to, 1))
			if err != nil {
				t.Fatal(err)
			}
			if len(differences(genuine, changed)) == 0 {
				t.Errorf("changing %q to %q went unnoticed", tc.from, tc.to)
			}
		})
	}
}

// parseTable turns the table into one entry for each row: "message M 3" to "reasoning string", and so on.
func parseTable(table string) (map[string]string, error) {
	rows := map[string]string{}
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		head, body, ok := strings.Cut(line, " =")
		if !ok {
			return nil, fmt.Errorf("no \" =\" in %q", line)
		}
		rows[head] = ""
		body = strings.TrimSpace(body)
		if strings.HasPrefix(head, "rpc ") {
			rows[head] = body
			continue
		}
		for item := range strings.SplitSeq(body, "; ") {
			if item == "" {
				continue
			}
			number, rest, _ := strings.Cut(item, " ")
			if _, err := strconv.Atoi(number); err != nil {
				return nil, fmt.Errorf("%s: %q does not begin with a number", head, item)
			}
			key := head + " " + number
			if rows[key] != "" {
				return nil, fmt.Errorf("%s: number %s twice", head, number)
			}
			rows[key] = rest
		}
	}
	return rows, nil
}

// differences lists what is not the same in both, sorted.
func differences(want, got map[string]string) []string {
	var diffs []string
	for _, key := range slices.Sorted(maps.Keys(want)) {
		switch text, ok := got[key]; {
		case !ok:
			diffs = append(diffs, fmt.Sprintf("%s: missing from the .proto files; want %q", key, want[key]))
		case text != want[key]:
			diffs = append(diffs, fmt.Sprintf("%s: got %q, the wire format says %q", key, text, want[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			diffs = append(diffs, fmt.Sprintf("%s: %q is not part of the wire format", key, got[key]))
		}
	}
	return diffs
}

// describe writes down generated descriptors in the table's own words.
func describe(files ...protoreflect.FileDescriptor) map[string]string {
	rows := map[string]string{}
	for _, file := range files {
		describeMessages(rows, file.Messages())
		describeEnums(rows, file.Enums())
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				rows["rpc "+string(m.Name())] = streamed(m.IsStreamingClient(), m.Input()) + " -> " +
					streamed(m.IsStreamingServer(), m.Output())
			}
		}
	}
	return rows
}

func streamed(stream bool, m protoreflect.MessageDescriptor) string {
	if stream {
		return "stream " + typeName(m)
	}
	return typeName(m)
}

func describeMessages(rows map[string]string, messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		m := messages.Get(i)
		if m.IsMapEntry() {
			continue
		}
		head := "message " + typeName(m)
		rows[head] = ""
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			rows[fmt.Sprintf("%s %d", head, f.Number())] = string(f.Name()) + " " + fieldType(f)
		}
		describeMessages(rows, m.Messages())
		describeEnums(rows, m.Enums())
	}
}

func describeEnums(rows map[string]string, enums protoreflect.EnumDescriptors) {
	for i := range enums.Len() {
		e := enums.Get(i)
		head := "enum " + typeName(e)
		rows[head] = ""
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			rows[fmt.Sprintf("%s %d", head, v.Number())] = string(v.Name())
		}
	}
}

func fieldType(f protoreflect.FieldDescriptor) string {
	text := kindName(f)
	switch {
	case f.IsMap():
		text = "map<" + kindName(f.MapKey()) + "," + kindName(f.MapValue()) + ">"
	case f.IsList():
		text = "repeated " + text
	}
	if oneof := f.ContainingOneof(); oneof != nil {
		text += ", one of " + string(oneof.Name())
	}
	return text
}

func kindName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Message() != nil:
		return typeName(f.Message())
	case f.Enum() != nil:
		return typeName(f.Enum())
	}
	return f.Kind().String()
}

// typeName is a type's name without its package, nested types as Outer.Inner.
func typeName(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(strings.TrimPrefix(string(d.FullName()), "engram.v1."), "google.protobuf.")
}
