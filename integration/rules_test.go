package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// The rules of the house, executed: which room may import which, and what every file has to look like. Each rule is a
// function from what was found to what is wrong with it, so that TestRulesCanFail can show each one failing. Every
// message names the remedy. .golangci.yml says the import rules once more, for editors.

const ruleModule = "github.com/engram-sidecar/engram-sidecar"

// ruleRoom says what the code of one room may import. Tests may reach further, for they are not linked into the
// binary, except those in integration, which work from outside.
type ruleRoom struct {
	ours []string // our rooms it may import; "*" is all of them
	libs []string // guarded libraries it may import, see ruleLibraries
}

// ruleRooms is the Rooms table of docs/design.md. A room of cmd or integration includes the folders under it.
var ruleRooms = map[string]ruleRoom{
	"proto":                 {},
	"proto/engram/v1":       {libs: []string{"grpc", "protobuf"}},
	"wal":                   {libs: []string{"tidwall"}},
	"wal/ledger":            {ours: []string{"wal"}, libs: []string{"bbolt"}},
	"recovery":              {ours: []string{"wal", "wal/ledger"}},
	"proxy/buffers":         {},
	"proxy/envelope":        {libs: []string{"protowire"}},
	"proxy/session":         {},
	"proxy/queue":           {},
	"proxy/embedding":       {},
	"proxy/admin":           {},
	"proxy/access":          {},
	"proxy/forward":         {ours: []string{"wal", "proxy/queue", "proxy/store"}},
	"proxy/letters":         {ours: []string{"wal", "wal/ledger", "proxy/store", "proxy/admin"}},
	"proxy/store":           {ours: []string{"wal", "proxy/envelope"}},
	"proxy/store/storetest": {ours: []string{"wal", "proxy/store", "proxy/envelope"}},
	"proxy/store/embedded":  {ours: []string{"wal", "proxy/store", "proxy/envelope"}, libs: []string{"bbolt"}},
	"proxy/store/engram": {
		ours: []string{"wal", "proxy/store", "proxy/envelope", "proto/engram/v1"},
		libs: []string{"grpc", "protobuf", "protowire"},
	},
	"proxy/store/postgres": {ours: []string{"wal", "proxy/store", "proxy/envelope"}, libs: []string{"pgx"}},
	"proxy": {
		ours: []string{
			"wal", "proxy/access", "proxy/buffers", "proxy/session", "proxy/envelope", "proxy/embedding", "proxy/store", "proto/engram/v1",
		},
		libs: []string{"grpc", "protobuf"},
	},
	"cmd/engram-sidecar": {ours: []string{"*"}, libs: []string{"grpc", "protobuf"}},
	"integration":        {ours: []string{"proto/engram/v1", "integration"}, libs: []string{"grpc", "protobuf", "pgx"}},
	"examples":           {ours: []string{"proto/engram/v1"}, libs: []string{"grpc", "protobuf"}},
}

// ruleLibraries are the guarded libraries, each a list of import path prefixes; the longest prefix decides.
var ruleLibraries = map[string]string{
	"github.com/tidwall/wal":                        "tidwall",
	"go.etcd.io/bbolt":                              "bbolt",
	"github.com/jackc":                              "pgx",
	"github.com/pgvector":                           "pgx",
	"google.golang.org/grpc":                        "grpc",
	"github.com/grpc-ecosystem/go-grpc-middleware":  "grpc",
	"google.golang.org/genproto":                    "grpc",
	"google.golang.org/protobuf":                    "protobuf",
	"google.golang.org/protobuf/encoding/protowire": "protowire",
}

// rulePackage is what `go list -json` says of one package, as far as the rules look at it.
type rulePackage struct {
	ImportPath, Doc                          string
	GoFiles                                  []string
	Imports, TestImports, XTestImports, Deps []string
}

func (p rulePackage) room() (string, ruleRoom, bool) {
	folder := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, ruleModule), "/")
	for _, wide := range []string{"cmd/engram-sidecar", "integration", "examples"} {
		if strings.HasPrefix(folder+"/", wide+"/") {
			return wide, ruleRooms[wide], true
		}
	}
	room, ok := ruleRooms[folder]
	return folder, room, ok
}

// ruleImports: a room imports what the Rooms table allows it and nothing else.
func ruleImports(p rulePackage) []string {
	name, room, ok := p.room()
	if !ok {
		return []string{name + ": a folder that is no room: put the code into one of the rooms, or add the new room to " +
			"docs/design.md, to ruleRooms in integration/rules_test.go and to .golangci.yml"}
	}
	imports := slices.Clone(p.Imports)
	if name == "integration" {
		imports = slices.Concat(imports, p.TestImports, p.XTestImports)
	}
	slices.Sort(imports)
	var wrong []string
	for _, imported := range slices.Compact(imports) {
		if other, ok := strings.CutPrefix(imported, ruleModule+"/"); ok {
			within := name == "integration" || name == "cmd/engram-sidecar"
			if slices.Contains(room.ours, "*") || slices.Contains(room.ours, other) ||
				within && strings.HasPrefix(other, name+"/") {
				continue
			}
			wrong = append(wrong, fmt.Sprintf("%s imports %s: of ours it may import %s; declare a small interface "+
				"where it is used and let cmd/engram-sidecar join the two", name, other, orNothing(room.ours)))
		} else if lib := ruleLibrary(imported); lib != "" && !slices.Contains(room.libs, lib) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: that belongs to %s; use what those rooms offer instead",
				name, imported, orNothing(ruleOwners(lib))))
		}
	}
	return wrong
}

// ruleNoHiddenGRPC: a room that may not import grpc does not link it through another package either.
func ruleNoHiddenGRPC(p rulePackage) []string {
	name, room, _ := p.room()
	if slices.Contains(room.libs, "grpc") || !slices.Contains(p.Deps, "google.golang.org/grpc") {
		return nil
	}
	return []string{name + " links google.golang.org/grpc through what it imports: find it with " +
		"`go mod why -m google.golang.org/grpc` and cut it; grpc ends at the edge"}
}

// rulePackageDoc: every package says what it is for.
func rulePackageDoc(p rulePackage) []string {
	if p.Doc != "" {
		return nil
	}
	name, _, _ := p.room()
	return []string{name + ": no package comment: write a doc.go that says what it promises, what it assumes, who " +
		"owns its goroutines, and what happens on a crash"}
}

// ruleGofmt: every Go file is formatted.
func ruleGofmt(name string, text []byte) []string {
	if !strings.HasSuffix(name, ".go") {
		return nil
	}
	formatted, err := format.Source(text)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", name, err)}
	}
	if !bytes.Equal(formatted, text) {
		return []string{name + ": not formatted: run make fmt"}
	}
	return nil
}

// ruleFileLength: a hand-written Go file has at most 400 lines; tests may be longer.
func ruleFileLength(name string, text []byte) []string {
	const most = 400
	if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go") {
		return nil
	}
	if lines := bytes.Count(text, []byte("\n")); lines > most {
		return []string{fmt.Sprintf("%s: %d lines, at most %d: split it by concern", name, lines, most)}
	}
	return nil
}

// ruleOutside: nothing points outside the repository, where a clone has nothing.
func ruleOutside(name string, text []byte) []string {
	if outside := ".." + "/shared"; bytes.Contains(text, []byte(outside)) {
		return []string{fmt.Sprintf("%s: mentions %s, which no clone has: say it in docs/ and refer to that", name, outside)}
	}
	return nil
}

// ruleTopLevel: the top level shows the architecture and nothing else. Folders that begin with a dot are tools'.
func ruleTopLevel(folders []string) []string {
	allowed := []string{"proxy", "wal", "recovery", "proto", "cmd", "integration", "docs", "examples", "bin"}
	var wrong []string
	for _, folder := range folders {
		if !strings.HasPrefix(folder, ".") && !slices.Contains(allowed, folder) {
			wrong = append(wrong, fmt.Sprintf("%s/: not a folder of the top level: move it into one of %s",
				folder, strings.Join(allowed, ", ")))
		}
	}
	return wrong
}

// ruleNotice: NOTICE names every module that is linked, and none that is not.
func ruleNotice(notice string, linked []string) []string {
	_, list, _ := strings.Cut(notice, "== Modules linked into the binary ==")
	list, _, _ = strings.Cut(list, "\n== ")
	var named, wrong []string
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); len(fields) > 0 {
			named = append(named, fields[0])
		}
	}
	for _, module := range linked {
		if !slices.Contains(named, module) {
			wrong = append(wrong, fmt.Sprintf("NOTICE: %s is linked but not named: add it with its licence and holder", module))
		}
	}
	for _, module := range named {
		// Windows' builds link it, by way of cobra; these are not the ones this test sees.
		if !slices.Contains(linked, module) && module != "github.com/inconshreveable/mousetrap" {
			wrong = append(wrong, fmt.Sprintf("NOTICE: %s is named but no longer linked: remove it", module))
		}
	}
	return wrong
}

func TestRulesOfPackages(t *testing.T) {
	packages := rulePackages(t)
	for _, p := range packages {
		for _, rule := range []func(rulePackage) []string{ruleImports, ruleNoHiddenGRPC, rulePackageDoc} {
			for _, wrong := range rule(p) {
				t.Error(wrong)
			}
		}
	}
	if len(packages) < 3 {
		t.Errorf("go list found only %d packages", len(packages))
	}
}

func TestRulesOfFiles(t *testing.T) {
	files := ruleFiles(t)
	for name, text := range files {
		for _, rule := range []func(string, []byte) []string{ruleGofmt, ruleFileLength, ruleOutside} {
			for _, wrong := range rule(name, text) {
				t.Error(wrong)
			}
		}
	}
	if len(files) < 10 {
		t.Errorf("found only %d files", len(files))
	}
}

func TestRulesOfTopLevel(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, entry := range entries {
		if entry.IsDir() {
			folders = append(folders, entry.Name())
		}
	}
	for _, wrong := range ruleTopLevel(folders) {
		t.Error(wrong)
	}
}

func TestRulesOfNotice(t *testing.T) {
	notice, err := os.ReadFile("../NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(ruleGoList(t, "./cmd/...", "-deps", "-f={{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}"))
	slices.Sort(linked)
	for _, wrong := range ruleNotice(string(notice), slices.Compact(linked)) {
		t.Error(wrong)
	}
}

// ruleLibrary names the guarded library an import path belongs to, or nothing.
func ruleLibrary(imported string) string {
	longest, name := "", ""
	for prefix, lib := range ruleLibraries {
		if strings.HasPrefix(imported+"/", prefix+"/") && len(prefix) > len(longest) {
			longest, name = prefix, lib
		}
	}
	return name
}

// ruleOwners lists the rooms that may import a guarded library.
func ruleOwners(lib string) []string {
	var owners []string
	for name, room := range ruleRooms {
		if slices.Contains(room.libs, lib) {
			owners = append(owners, name)
		}
	}
	slices.Sort(owners)
	return owners
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// rulePackages asks the go command for every package of the module.
func rulePackages(t *testing.T) []rulePackage {
	t.Helper()
	out := ruleGoList(t, "./...", "-json=ImportPath,Doc,Imports,TestImports,XTestImports,Deps")
	var packages []rulePackage
	for decoder := json.NewDecoder(strings.NewReader(out)); ; {
		var p rulePackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// ruleGoList runs go list at the module's root; with -e, for what does not build is another test's business.
func ruleGoList(t *testing.T, pattern string, flags ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"list", "-e"}, flags, []string{pattern})...)
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	return string(out)
}

// ruleFiles reads every text file of the project, by its path from the root. Of the folders that begin with a dot only
// .ci is ours.
func ruleFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			base := path.Base(name)
			if name == "bin" || base == "node_modules" || name != "." && name != ".ci" && strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err == nil && !bytes.Contains(text, []byte{0}) {
			files[name] = text
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
