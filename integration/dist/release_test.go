package dist

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// release is what .ci/dist makes of a copy of the tree: both architectures, built once for all tests.
var release struct {
	once sync.Once
	tree string // the copy
	dir  string
	err  error
	said string
}

// made returns the directory of the release.
func made(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("compiles everything for two architectures; -short leaves it out")
	}
	harness.Tool(t, "dpkg-deb", "dpkg")
	release.once.Do(func() {
		release.tree, release.dir = filepath.Join(harness.BuildDir(), "tree"), filepath.Join(harness.BuildDir(), "release")
		if release.err = copyTree("../..", release.tree); release.err == nil {
			release.said, release.err = distOf(release.tree, release.dir)
		}
	})
	if release.err != nil {
		t.Fatalf("making a release: %v\n%s", release.err, release.said)
	}
	return release.dir
}

func distOf(tree, dir string, archs ...string) (string, error) {
	c := exec.Command(filepath.Join(tree, ".ci", "dist"), append([]string{dir}, archs...)...)
	c.Env = append(os.Environ(), "GOCOVERDIR=")
	out, err := c.CombinedOutput()
	return string(out), err
}

// copyTree makes a repository of a tree as it stands, whose only commit is always the same for the same files.
func copyTree(from, to string) error {
	script := `set -e
mkdir -p "$1"
git ls-files -coz --exclude-standard | while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
  tar --null -T - -cf - | tar -xf - -C "$1"
cd "$1"
git init -q && git add -A
git -c user.name=test -c user.email=test@localhost commit -q -m 'as it stands'`
	c := exec.Command("bash", "-c", script, "bash", to)
	c.Dir = from
	c.Env = append(os.Environ(), "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
	c.Stderr = os.Stderr
	return c.Run()
}

// one is the only file that a pattern finds.
func one(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: expected one file, found %v, %v", pattern, found, err)
	}
	return found[0]
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := harness.Command(t, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestTheBinariesAreStatic(t *testing.T) {
	dir := made(t)
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		at := t.TempDir()
		command(t, "tar", "-xzf", one(t, filepath.Join(dir, "*_linux_"+arch+".tar.gz")), "-C", at, "--strip-components=1")
		packaged := t.TempDir()
		command(t, "dpkg-deb", "-x", one(t, filepath.Join(dir, "*_"+arch+".deb")), packaged)
		for _, path := range []string{filepath.Join(at, "engram-sidecar"), filepath.Join(packaged, "usr/bin/engram-sidecar")} {
			f, err := elf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if f.Machine != machine {
				t.Errorf("%s: machine %v, want %v", path, f.Machine, machine)
			}
			for _, p := range f.Progs {
				if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
					t.Errorf("%s is linked dynamically: %v", path, p.Type)
				}
			}
			_ = f.Close() // it was only read
		}
		for _, file := range []string{"LICENSE", "NOTICE", "README.md", "deploy/engram-sidecar.service"} {
			if _, err := os.Stat(filepath.Join(at, file)); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestTheChecksumsAreOfAllFiles(t *testing.T) {
	dir := made(t)
	c := harness.Command(t, "sha256sum", "--strict", "-c", "SHA256SUMS")
	c.Dir = dir
	out, err := c.CombinedOutput()
	files, globErr := filepath.Glob(filepath.Join(dir, "engram-sidecar_*"))
	if err != nil || globErr != nil || len(files) != 4 || strings.Count(string(out), ": OK\n") != len(files) {
		t.Errorf("%d files: %v %v\n%s", len(files), err, globErr, out)
	}
}

// TestTheSameSourcesGiveTheSameBytes builds in another place, at another time.
func TestTheSameSourcesGiveTheSameBytes(t *testing.T) {
	dir := made(t)
	tree := filepath.Join(t.TempDir(), "a", "longer", "way", "to", "the", "tree")
	if err := copyTree(release.tree, tree); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again")
	if out, err := distOf(tree, again, "amd64"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, pattern := range []string{"*_amd64.tar.gz", "*_amd64.deb"} {
		first, second := one(t, filepath.Join(dir, pattern)), one(t, filepath.Join(again, pattern))
		a, errA := os.ReadFile(first)
		b, errB := os.ReadFile(second)
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s and %s differ: %v %v", first, second, errA, errB)
		}
	}
}
