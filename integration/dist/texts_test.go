package dist

import (
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// commands are the commands that the binary's help shows, with those below them.
func commands(t *testing.T, bin string, of ...string) (all []string) {
	t.Helper()
	all = append(all, strings.Join(append([]string{"engram-sidecar"}, of...), "-"))
	help := command(t, bin, append(slices.Clone(of), "--help")...)
	_, list, found := strings.Cut(help, "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for line := range strings.Lines(list) {
		if words := strings.Fields(line); found && len(words) > 0 && words[0] != "help" {
			all = append(all, commands(t, bin, append(slices.Clone(of), words[0])...)...)
		}
	}
	return all
}

// pages are the manual pages in a directory, by name without their section.
func pages(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		var text io.Reader = file
		name, packed := strings.CutSuffix(d.Name(), ".gz")
		if packed {
			if text, err = gzip.NewReader(file); err != nil {
				return err
			}
		}
		page, err := io.ReadAll(text)
		found[strings.TrimSuffix(name, ".1")] = string(page)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestPagesAndCompletionsComeAlong looks into package and archive: a manual page for each command, with its example, and what three
// shells complete with, where they look for it.
func TestPagesAndCompletionsComeAlong(t *testing.T) {
	dir := made(t)
	want := commands(t, harness.Binary(t))
	if len(want) < 35 {
		t.Fatalf("only %d commands were found: %v", len(want), want)
	}
	packaged, archived := t.TempDir(), t.TempDir()
	command(t, "dpkg-deb", "-x", one(t, filepath.Join(dir, "*_arm64.deb")), packaged)
	command(t, "tar", "-xzf", one(t, filepath.Join(dir, "*_linux_arm64.tar.gz")), "-C", archived, "--strip-components=1")
	for _, at := range []string{filepath.Join(packaged, "usr/share/man/man1"), filepath.Join(archived, "man")} {
		found := pages(t, at)
		for _, name := range want {
			if page := found[name]; !strings.Contains(page, ".SH NAME\n"+name+" - ") || !strings.Contains(page, ".SH EXAMPLE") {
				t.Errorf("%s: %s: no such page, or one without name or example: %.200q", at, name, page)
			}
		}
		if len(found) != len(want) {
			t.Errorf("%s: %d pages for %d commands", at, len(found), len(want))
		}
	}
	for shell, places := range map[string][2]string{
		"bash": {"usr/share/bash-completion/completions/engram-sidecar", "completions/engram-sidecar.bash"},
		"zsh":  {"usr/share/zsh/vendor-completions/_engram-sidecar", "completions/engram-sidecar.zsh"},
		"fish": {"usr/share/fish/vendor_completions.d/engram-sidecar.fish", "completions/engram-sidecar.fish"},
	} {
		made := command(t, harness.Binary(t), "completion", shell)
		for _, at := range []string{filepath.Join(packaged, places[0]), filepath.Join(archived, places[1])} {
			if text, err := os.ReadFile(at); err != nil || string(text) != made {
				t.Errorf("%s: it is not what `completion %s` prints: %v", at, shell, err)
			}
		}
	}
	out := command(t, "bash", "-c", `source "$1" && complete -p engram-sidecar`, "bash", filepath.Join(packaged, "usr/share/bash-completion/completions/engram-sidecar"))
	if !strings.Contains(out, "__start_engram-sidecar") {
		t.Errorf("bash completes with %q", out)
	}
}
