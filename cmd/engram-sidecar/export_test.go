package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/embedding"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// TestExportEveryForm: what observe cannot read back is left out and said, what it can keeps its id.
func TestExportEveryForm(t *testing.T) {
	note := episode("a note\x1b[2J\u202e")
	memory := &engramv1.Memory{
		Id: "other", Content: "a memory", Embedding: embedding.Text("a memory"), Tags: []string{"t"}, Metadata: map[string]string{"where": "here", "who": "me"},
	}
	dir := stopped(t,
		accepted(t, 1, "default", "e", wal.FormEpisode, note),
		accepted(t, 2, "default", "m", wal.FormRemember, &engramv1.RememberRequest{MemoryType: &engramv1.RememberRequest_Memory{Memory: memory}}),
		accepted(t, 3, "default", "r", wal.FormRemember, &engramv1.RememberRequest{MemoryType: &engramv1.RememberRequest_Episode{Episode: note}}),
		accepted(t, 4, "default", "x", wal.FormExperience, &engramv1.ExperienceRequest{Episode: note}),
		accepted(t, 5, "default", "n", wal.FormRemember, &engramv1.RememberRequest{}),
	)
	o := call("", "journal", "export", "--data-dir", dir)
	o.wants(t, 0, "", "exported 4 observations, 1 of them without what an episode has no field for, such as tags and links, LEFT OUT 1 that hold")
	if strings.ContainsAny(o.stdout, "\x1b\u202e") {
		t.Error("a terminal would take a line for a command")
	}
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	wants := []*engramv1.Episode{
		proto.CloneOf(note),
		{What: "a memory", Embedding: memory.Embedding, WhereLocation: "here", Who: []string{"me"}},
		proto.CloneOf(note), proto.CloneOf(note),
	}
	if len(lines) != len(wants) {
		t.Fatalf("%d lines", len(lines))
	}
	for i, id := range []string{"e", "m", "r", "x"} {
		wants[i].Id = id
		var got engramv1.Episode
		if err := protojson.Unmarshal([]byte(lines[i]), &got); err != nil || !proto.Equal(&got, wants[i]) {
			t.Errorf("line %d: %v\ngot  %.200v\nwant %.200v", i, err, &got, wants[i])
		}
	}
}

func TestExportWantsOneSpace(t *testing.T) {
	dir := stopped(t,
		accepted(t, 1, "first", "a", wal.FormEpisode, episode("one")),
		accepted(t, 2, "second", "b", wal.FormEpisode, episode("two")),
	)
	o := call("", "journal", "export", "--data-dir", dir)
	o.wants(t, exitUsage, "", "2 memory spaces: name one with --space: first (1), second (1)")
	if o.stdout != "" {
		t.Errorf("exported %.100q", o.stdout)
	}
	call("", "journal", "export", "--space", "second", "--data-dir", dir).wants(t, 0, `"two"`, "exported 1 observations, left out 1 of other memory spaces")
	call("", "journal", "export", "--space", "third", "--data-dir", dir).wants(t, 0, "", "exported 0")
	call("", "journal", "export", "--dead", "--data-dir", dir).wants(t, 0, "", "exported 0")
}

// TestWhatWasExportedIsObservedOnce observes the same lines twice, and on top of the sidecar that has them already.
func TestWhatWasExportedIsObservedOnce(t *testing.T) {
	dir := threeNotes(t)
	lines := call("", "journal", "export", "--data-dir", dir).stdout
	r := serveHere(t, dir)
	for range 2 {
		call(lines, "observe", "--addr", r.address, "--drain").wants(t, 0, "acked 3", "")
	}
	if s := r.status(); s.Store.Stored != 3 || s.Balance.Accepted != 9 {
		t.Errorf("stored %d of %+v, want 3 of 9", s.Store.Stored, s.Balance)
	}
}
