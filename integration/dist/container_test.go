package dist

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

const dockerfile = "../../docs/deploy/Dockerfile"

// instruction is a line of a Dockerfile; stages are what stands between two FROM.
type instruction struct{ name, rest string }

func stages(t *testing.T) [][]instruction {
	t.Helper()
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	joined := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(string(text), " ")
	var all [][]instruction
	for line := range strings.Lines(joined) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		if name == "FROM" {
			all = append(all, nil)
		}
		if len(all) == 0 {
			t.Fatalf("%s: %q stands before the first FROM", dockerfile, line)
		}
		all[len(all)-1] = append(all[len(all)-1], instruction{name, strings.TrimSpace(rest)})
	}
	return all
}

func find(stage []instruction, name string) (found []string) {
	for _, i := range stage {
		if i.name == name {
			found = append(found, i.rest)
		}
	}
	return found
}

// words is an instruction in its exec form, the only one that needs no shell.
func words(t *testing.T, stage []instruction, name string) (list []string) {
	t.Helper()
	found := find(stage, name)
	if len(found) != 1 || json.Unmarshal([]byte(found[0][max(strings.Index(found[0], "["), 0):]), &list) != nil {
		t.Fatalf("%s: expected one in exec form, found %q", name, found)
	}
	return list
}

// TestTheImageIsSmallAndWithoutRights reads the Dockerfile: no Docker is needed to see what it asks for.
func TestTheImageIsSmallAndWithoutRights(t *testing.T) {
	all := stages(t)
	last := all[len(all)-1]
	if from := find(last, "FROM")[0]; !strings.Contains(from, "/distroless/static") || strings.HasSuffix(from, ":latest") {
		t.Errorf("the image is made from %s, want distroless/static at a tag", from)
	}
	if user := find(last, "USER"); !slices.Equal(user, []string{"65532:65532"}) {
		t.Errorf("USER %q, want a number that is not root's, so that a cluster can see it", user)
	}
	if n := len(find(last, "RUN")) + len(find(last, "ADD")); n != 0 {
		t.Errorf("the last stage runs or adds %d things; it has no shell, and takes nothing from elsewhere", n)
	}
	for _, copied := range find(last, "COPY") {
		if !strings.HasPrefix(copied, "--from=build ") {
			t.Errorf("COPY %s: expected only what the build stage made", copied)
		}
	}
	if build := strings.Join(find(all[0], "RUN"), "\n"); !strings.Contains(build, "CGO_ENABLED=0") || !strings.Contains(build, "-trimpath") {
		t.Errorf("the build stage runs %s", build)
	}
	if got := slices.Concat(words(t, last, "ENTRYPOINT"), words(t, last, "CMD")); !slices.Equal(got, []string{"/engram-sidecar", "serve"}) {
		t.Errorf("it starts %q", got)
	}
	if got := words(t, last, "HEALTHCHECK"); !slices.Equal(got, []string{"/engram-sidecar", "status"}) {
		t.Errorf("its health is asked with %q", got)
	}
}

// TestTheImageRuns starts the release's binary as the Dockerfile says, in a root that holds it and the volume alone and cannot
// be written, as its user.
func TestTheImageRuns(t *testing.T) {
	all := stages(t)
	last := all[len(all)-1]
	tree := t.TempDir()
	command(t, "tar", "-xzf", one(t, filepath.Join(made(t), "*_linux_amd64.tar.gz")), "-C", tree, "--strip-components=1")
	grpc, admin := harness.FreeAddress(t), harness.FreeAddress(t)
	args := []string{filepath.Join(tree, "engram-sidecar"), find(last, "USER")[0], find(last, "VOLUME")[0]}
	args = append(args, find(last, "ENV")...)
	args = append(args, "ENGRAM_SIDECAR_LISTEN="+grpc, "ENGRAM_SIDECAR_ADMIN_LISTEN="+admin, "--")
	args = append(args, slices.Concat(words(t, last, "ENTRYPOINT"), words(t, last, "CMD"))...)
	r := start(t, inNamespace(t, "testdata/contain.sh", args...), admin)
	r.observes(t, grpc)
	r.stops(t)
}
