package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/embedding"
)

func TestRecallPrintsATable(t *testing.T) {
	f := &fake{answers: []*engramv1.StreamingRecallResponse{
		{Results: []*engramv1.Memory{hit("a", "near", 0.98765), hit("longer-id", "far\x1b[31m and\na bit\u202ered", -0.25)}},
	}}
	call("", "recall", "--addr", serveFake(t, f), "--space", "notes", "-k", "3", "--committed", "two", "words").wants(t, 0,
		"a           0.988  near\nlonger-id  -0.250  far[31m and a bitred\n", "")
	asked := f.asked[0]
	if asked.MemorySpaceId != "notes" || asked.MaxResults != 3 || !asked.SnapshotIsolation {
		t.Errorf("asked %v", asked)
	}
	if got := asked.GetCue().GetEmbedding().GetVector(); !slices.Equal(got, embedding.Text("two words")) {
		t.Errorf("the cue is not the embedding of the text: %v", got)
	}
}

func TestRecallInJSON(t *testing.T) {
	f := &fake{answers: batches(16, 3)}
	o := call("", "recall", "--addr", serveFake(t, f), "--json", "x")
	var found []memory
	if err := json.Unmarshal([]byte(o.stdout), &found); err != nil || len(found) != 19 || found[18] != (memory{"id-19", 1.0 / 19, "text 19"}) {
		t.Errorf("%v %v", found, err)
	}
	call("", "recall", "--addr", serveFake(t, &fake{}), "--json", "x").wants(t, 0, "[]\n", "")
	f = &fake{answers: []*engramv1.StreamingRecallResponse{{Results: []*engramv1.Memory{hit("a", "\x1b[2J\u009b<&>\u202e", 1)}}}}
	call("", "recall", "--addr", serveFake(t, f), "--json", "x").wants(t, 0, `"text": "\u001b[2J\u009b<&>\u202e"`, "")
}

func TestRecallSaysWhatIsMissing(t *testing.T) {
	f := &fake{answers: batches(1), partial: "store-unavailable"}
	call("", "recall", "--addr", serveFake(t, f), "x").wants(t, 0, "id-1", "engram-sidecar: the answer is partial: store-unavailable\n")
}

func TestRefusalsOfTheSidecar(t *testing.T) {
	address := serveFake(t, &fake{refusal: refused("memory_space_id: expected 3 to 64 characters")})
	want := "the sidecar at " + address + " refused: memory_space_id: expected 3 to 64 characters (InvalidArgument)\n"
	call("", "recall", "--addr", address, "--space", "x", "y").wants(t, 1, "", want)
	call("line", "observe", "--addr", address).wants(t, 1, "", want)
}

func TestObserveSendsLines(t *testing.T) {
	f := &fake{}
	o := call("first\n\nsecond\n", "observe", "--addr", serveFake(t, f), "--space", "notes", "--id-prefix", "n")
	o.wants(t, 0, "sent 2, acked 2, ", "")
	if !strings.Contains(o.stdout, "session the-session, closed after observation 2\n") {
		t.Errorf("stdout %q", o.stdout)
	}
	if len(f.episodes) != 2 || f.episodes[1].What != "second" || f.episodes[1].Id != "n-3" || f.inits[0].MemorySpaceId != "notes" {
		t.Fatalf("init %v, episodes %v", f.inits, f.episodes)
	}
	if !slices.Equal(f.episodes[0].Embedding, embedding.Text("first")) {
		t.Error("the embedding is not that of the text")
	}
}

func TestObserveFromAFileInJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.jsonl")
	if err := os.WriteFile(path, []byte("{\"what\":\"one\"}\nbroken\n{\"what\":\"two\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := serveFake(t, &fake{})
	o := call("", "observe", "--addr", address, "--file", path, "--skip-invalid", "--json")
	o.wants(t, 0, `"acked": 2`, "engram-sidecar: line 2: expected a JSON object")
	if !json.Valid([]byte(o.stdout)) {
		t.Errorf("stdout is no JSON: %s", o.stdout)
	}
	o = call("", "observe", "--addr", address, "--file", path)
	o.wants(t, 1, "sent 1, acked 1", "engram-sidecar: line 2: expected a JSON object with the fields of an episode")
	if !strings.Contains(o.stdout, "go on with --session the-session") {
		t.Errorf("stdout %q", o.stdout)
	}
}

func TestExplain(t *testing.T) {
	plain := errors.New("line 3: bad")
	if got := explain(plain, "a:1"); !errors.Is(got, plain) || got.Error() != plain.Error() {
		t.Errorf("an error of ours became %v", got)
	}
	if explain(nil, "a:1") != nil {
		t.Error("nil became an error")
	}
	got := explain(status.Error(codes.Unavailable, "the sidecar is stopping"), "a:1").Error()
	if got != "the sidecar at a:1 refused: the sidecar is stopping (Unavailable)" {
		t.Errorf("got %q", got)
	}
}

func TestTargets(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:1": "passthrough:///127.0.0.1:1", "[::1]:2": "passthrough:///[::1]:2", "unix:///run/s.sock": "unix:///run/s.sock",
	} {
		if got, err := targetOf(in); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "host", "unix://relative"} {
		if got, err := targetOf(in); err == nil {
			t.Errorf("%q was taken as %s", in, got)
		}
	}
}
