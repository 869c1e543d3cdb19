package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGrpcurl uses the sidecar through a client that knows nothing but what the server's reflection tells it.
func TestGrpcurl(t *testing.T) {
	tool := grpcurl(t)
	s := serving(t)

	services := runTool(t, tool, "", "-plaintext", s.Listen, "list")
	for _, service := range []string{"engram.v1.EngramService", "grpc.health.v1.Health"} {
		if !strings.Contains(services, service) {
			t.Errorf("services listed: %q, expected %s among them", services, service)
		}
	}
	if methods := runTool(t, tool, "", "-plaintext", s.Listen, "list", "engram.v1.EngramService"); strings.Count(methods, "\n") != 23 {
		t.Errorf("methods listed: %q, expected 23", methods)
	}
	if health := runTool(t, tool, "", "-plaintext", s.Listen, "grpc.health.v1.Health/Check"); !strings.Contains(health, `"SERVING"`) {
		t.Errorf("health %q, expected SERVING", health)
	}

	e := nth(2).GetObservation()
	answer := runTool(t, tool, jsonOf(t, map[string]any{"episode": map[string]any{"id": "by-hand", "what": "typed in", "embedding": e.GetEmbedding()}}),
		"-plaintext", "-d", "@", s.Listen, "engram.v1.EngramService/Remember")
	if !strings.Contains(answer, `"by-hand"`) || !strings.Contains(answer, "CONSOLIDATION_STATE_RECENT") {
		t.Errorf("Remember: %s, expected its id and RECENT", answer)
	}
	answer = runTool(t, tool, jsonOf(t, map[string]any{"cue": map[string]any{"embedding": map[string]any{"vector": e.GetEmbedding()}}}),
		"-plaintext", "-d", "@", s.Listen, "engram.v1.EngramService/Recall")
	if !strings.Contains(answer, `"by-hand"`) || !strings.Contains(answer, `"typed in"`) {
		t.Errorf("Recall: %s, expected the memory", answer)
	}
}

// TestGrpcurlPassesThrough calls what only the Engram server behind the sidecar serves.
func TestGrpcurlPassesThrough(t *testing.T) {
	tool := grpcurl(t)
	f := newForwarding(t)
	answer := runTool(t, tool, "", "-plaintext", "-v", "-H", "trace: by-hand", "-d", `{"memory_id":"m"}`,
		f.sidecar.Listen, "engram.v1.EngramService/Forget")
	for _, part := range []string{`"memoriesAffected": 1`, "engram-node: fake", "engram-trace: [by-hand]"} {
		if !strings.Contains(answer, part) {
			t.Errorf("Forget: %s, expected %s", answer, part)
		}
	}
	answer = runTool(t, tool, "", "-plaintext", "-d", `{"replay_cycles":3}`, f.sidecar.Listen, "engram.v1.EngramService/Dream")
	if strings.Count(answer, "insight") != 6 || !strings.Contains(answer, "insight 3") {
		t.Errorf("Dream: %s, expected three insights", answer)
	}
}

// grpcurl returns the tool's path, installed at the repository's pinned version where it is missing.
func grpcurl(t *testing.T) string {
	t.Helper()
	install := exec.Command("bash", ".ci/tools", "grpcurl")
	install.Dir = ".."
	out, err := install.CombinedOutput()
	path, absErr := filepath.Abs("../.tools/bin/grpcurl")
	if err == nil && absErr == nil {
		return path
	}
	if os.Getenv("REQUIRE_TOOLS") == "1" {
		t.Fatalf("grpcurl is required: %v %v\n%s", err, absErr, out)
	}
	t.Skipf("needs grpcurl, which could not be installed (REQUIRE_TOOLS=1 makes this a failure): %v\n%s", err, out)
	return ""
}

func runTool(t *testing.T, tool, stdin string, args ...string) string {
	t.Helper()
	run := exec.CommandContext(t.Context(), tool, args...)
	run.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	run.Stdout, run.Stderr = &out, &errs
	if err := run.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(tool), strings.Join(args, " "), err, errs.String())
	}
	return out.String()
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
