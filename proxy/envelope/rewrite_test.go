package envelope

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

func unmarshal(t rapid.TB, b []byte, m proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatalf("unmarshal: %v", err)
	}
}

func wantEqual(t rapid.TB, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
}

// TestIDsAreAdded adds ids to requests in any encoding, and wants nothing else to change.
func TestIDsAreAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := randomText(MaxID).Draw(t, "new id")
		body := scramble(t, mustMarshal(t, randomEpisode().Draw(t, "episode")), &episodeRules)

		var want, got engramv1.Episode
		unmarshal(t, body, &want)
		want.Id = id
		unmarshal(t, AppendEpisodeID(nil, body, id), &got)
		wantEqual(t, &got, &want)

		request := scramble(t, join(bytesField(3, body...), bytesField(1, 's', 'p'), varintField(10, 1)), &rememberRules)
		var m Remember
		if err := ScanRemember(request, &m); err != nil {
			t.Fatal(err)
		}
		var before, after engramv1.RememberRequest
		unmarshal(t, request, &before)
		before.GetEpisode().Id = id
		unmarshal(t, WithRememberID(nil, &m, id), &after)
		wantEqual(t, &after, &before)
	})
}

func TestIDsAreAddedToEveryRequest(t *testing.T) {
	memory := sampleMemory()
	request := marshal(t, &engramv1.RememberRequest{
		MemorySpaceId: "lab", MemoryType: &engramv1.RememberRequest_Memory{Memory: memory}, AutoLink: true, LinkThreshold: 0.5,
	})
	var m Remember
	if err := ScanRemember(request, &m); err != nil {
		t.Fatal(err)
	}
	var remember engramv1.RememberRequest
	unmarshal(t, WithRememberID(nil, &m, "new"), &remember)
	memory.Id = "new"
	wantEqual(t, &remember, &engramv1.RememberRequest{
		MemorySpaceId: "lab", MemoryType: &engramv1.RememberRequest_Memory{Memory: memory}, AutoLink: true, LinkThreshold: 0.5,
	})

	want := &engramv1.ExperienceRequest{
		MemorySpaceId: "lab", Episode: sampleEpisode(), ImmediateConsolidation: true, ContextLinks: []string{"a"},
	}
	var x Experience
	if err := ScanExperience(marshal(t, want), &x); err != nil {
		t.Fatal(err)
	}
	var experience engramv1.ExperienceRequest
	got, ok := bytes.CutPrefix(WithExperienceID([]byte("before"), &x, []byte("new")), []byte("before"))
	if !ok {
		t.Fatal("what stood in the buffer is gone")
	}
	unmarshal(t, got, &experience)
	want.Episode.Id = "new"
	wantEqual(t, &experience, want)
}

// encodeRemember is the request that a head begins.
func encodeRemember(space string, episode []byte) []byte {
	return append(EncodeRememberHead(nil, space, len(episode)), episode...)
}

func TestEncodeRememberHead(t *testing.T) {
	for _, space := range []string{"", "garden"} {
		var got engramv1.RememberRequest
		unmarshal(t, encodeRemember(space, marshal(t, sampleEpisode())), &got)
		wantEqual(t, &got, &engramv1.RememberRequest{
			MemorySpaceId: space, MemoryType: &engramv1.RememberRequest_Episode{Episode: sampleEpisode()},
		})
	}
}

func TestSetRememberSpace(t *testing.T) {
	request := encodeRemember("old", marshal(t, sampleEpisode()))
	for _, space := range []string{"", "garden"} {
		var got engramv1.RememberRequest
		unmarshal(t, SetRememberSpace(nil, request, []byte(space)), &got)
		wantEqual(t, &got, &engramv1.RememberRequest{
			MemorySpaceId: space, MemoryType: &engramv1.RememberRequest_Episode{Episode: sampleEpisode()},
		})
	}
}
