package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

func TestScanRememberTakesBothBodies(t *testing.T) {
	memory, episode := marshal(t, sampleMemory()), marshal(t, sampleEpisode())
	cases := []struct {
		b        []byte
		kind     BodyKind
		body     []byte
		id, text string
		seed     uint64
	}{
		{bytesField(2, memory...), BodyMemory, memory, "mem-1", "water boils at 100 degrees", 2},
		{bytesField(3, episode...), BodyEpisode, episode, "ep-1", "the kettle boiled over while nobody was in the kitchen", 1},
	}
	for _, c := range cases {
		t.Run(c.kind.String(), func(t *testing.T) {
			var m Remember
			if err := ScanRemember(join(c.b, bytesField(1, 'l', 'a', 'b'), varintField(10, 1)), &m); err != nil {
				t.Fatal(err)
			}
			if m.Kind != c.kind || !bytes.Equal(m.Body, c.body) || string(m.Space) != "lab" {
				t.Errorf("got %d bytes of %v in %q", len(m.Body), m.Kind, m.Space)
			}
			if string(m.ID) != c.id || string(m.Text) != c.text {
				t.Errorf("got %v %q %q in %q", m.Kind, m.ID, m.Text, m.Space)
			}
			wantFloats(t, &m.Embedding, vectorOf(c.seed))
		})
	}
}

func TestScanRememberRefuses(t *testing.T) {
	memory, episode := marshal(t, sampleMemory()), marshal(t, sampleEpisode())
	inMemory := func(change func(m *engramv1.Memory)) []byte {
		m := sampleMemory()
		change(m)
		return bytesField(2, marshal(t, m)...)
	}
	after := func(tail ...byte) []byte { return bytesField(2, join(memory, tail)...) }
	cases := []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, "memory_type: expected a memory or an episode, got neither"},
		{
			"both", join(bytesField(2, memory...), bytesField(3, episode...)),
			"memory_type: expected a memory or an episode, got both",
		},
		{"two memories", join(bytesField(2, memory...), bytesField(2, memory...)), "memory: expected it once, got it twice"},
		{"two episodes", join(bytesField(3, episode...), bytesField(3)), "episode: expected it once, got it twice"},
		{"space not UTF-8", bytesField(1, 0xff), "memory_space_id: expected valid UTF-8, got byte 0xff at offset 0"},
		{"link threshold as text", bytesField(11), "link_threshold: expected 32 fixed bits on the wire, got a run of bytes"},
		{"an episode without embedding", bytesField(3), "embedding: expected 768 dimensions, got 0"},
		{
			"a memory without embedding", inMemory(func(m *engramv1.Memory) { m.Embedding = nil }),
			"embedding: expected 768 dimensions, got 0",
		},
		{
			"confidence", inMemory(func(m *engramv1.Memory) { m.Confidence.Value = 2 }),
			"confidence.value: expected a number in [0, 1], got 2",
		},
		{
			"created_at", inMemory(func(m *engramv1.Memory) { m.CreatedAt.Nanos = -5 }),
			"created_at.nanos: expected 0 to 999999999, got -5",
		},
		{
			"last_access", after(bytesField(5, varintField(2, 1<<31-1)...)...),
			"last_access.nanos: expected 0 to 999999999, got 2147483647",
		},
		{"long id", after(bytesField(1, make([]byte, 257)...)...), "id: expected at most 256 bytes, got 257"},
		{
			"metadata key", after(bytesField(11, bytesField(1, 0xff)...)...),
			"metadata.key: expected valid UTF-8, got byte 0xff at offset 0",
		},
		{
			"metadata cut short", after(bytesField(11, 0x0a)...),
			"metadata: expected a well-formed message, got malformed bytes: the data ends in the field at byte 0",
		},
		{"memory cut short", after(0x0a), fmt.Sprintf("malformed bytes: the data ends in the field at byte %d", len(memory))},
		{"cut short", []byte{0x0a}, "malformed bytes: the data ends in the field at byte 0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var m Remember
			if err := ScanRemember(c.b, &m); err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestScanExperience(t *testing.T) {
	episode := marshal(t, sampleEpisode())
	var x Experience
	request := join(bytesField(1, 'l'), bytesField(2, episode...), bytesField(4, 'a'), bytesField(4, 'b'))
	if err := ScanExperience(request, &x); err != nil {
		t.Fatal(err)
	}
	if string(x.Space) != "l" || string(x.ID) != "ep-1" || !bytes.Equal(x.Body, episode) || string(x.Text) != sampleEpisode().What {
		t.Errorf("got %q %q %q", x.Space, x.ID, x.Text)
	}
	wantFloats(t, &x.Embedding, vectorOf(1))

	refusals := []struct {
		b    []byte
		want string
	}{
		{nil, "episode: expected an episode, got none"},
		{join(bytesField(2, episode...), bytesField(2)), "episode: expected it once, got it twice"},
		{bytesField(2), "embedding: expected 768 dimensions, got 0"},
		{bytesField(4, 0xff), "context_links: expected valid UTF-8, got byte 0xff at offset 0"},
		{[]byte{0x12, 0x01}, "malformed bytes: the data ends in the field at byte 0"},
	}
	for _, c := range refusals {
		if err := ScanExperience(c.b, &x); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

func TestMalformedFieldsAreMalformed(t *testing.T) {
	var m Remember
	err := ScanRemember(bytesField(2, bytesField(11, 0x0a)...), &m)
	if field, ok := errors.AsType[*FieldError](err); !ok || field.Field != "metadata" || !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want a FieldError that is ErrMalformed", err)
	}
	if err := ScanRemember(bytesField(2), &m); errors.Is(err, ErrMalformed) {
		t.Errorf("%v: is ErrMalformed, although every byte could be read", err)
	}
}
