package integration

import (
	"bytes"
	"strings"
	"testing"
)

// TestRulesCanFail shows each rule its violation, and the nearest thing that is none.
func TestRulesCanFail(t *testing.T) {
	pkg := func(folder string, imports ...string) rulePackage {
		return rulePackage{ImportPath: ruleModule + "/" + folder, Doc: "a doc", Imports: imports}
	}
	ours := func(folder string) string { return ruleModule + "/" + folder }
	external := func(p rulePackage, tests ...string) rulePackage { p.XTestImports = tests; return p }
	linking := func(p rulePackage, deps ...string) rulePackage { p.Deps = deps; return p }
	undocumented := func(p rulePackage) rulePackage { p.Doc = ""; return p }
	long := func(lines int) []byte { return bytes.Repeat([]byte("\n"), lines) }

	for _, tc := range []struct {
		name string
		got  []string
		want string // part of the one message; empty: no message
	}{
		{"wal imports tidwall", ruleImports(pkg("wal", "github.com/tidwall/wal")), ""},
		{"ledger imports tidwall", ruleImports(pkg("wal/ledger", "github.com/tidwall/wal")), "that belongs to wal;"},
		{"ledger imports the journal", ruleImports(pkg("wal/ledger", ours("wal"), "go.etcd.io/bbolt")), ""},
		{"journal imports the ledger", ruleImports(pkg("wal", ours("wal/ledger"))), "wal imports wal/ledger"},
		{"edge imports the ledger", ruleImports(pkg("proxy", ours("wal/ledger"))), "proxy imports wal/ledger"},
		{"edge imports a store", ruleImports(pkg("proxy", ours("proxy/store/embedded"))), "declare a small interface"},
		{"session imports the journal", ruleImports(pkg("proxy/session", ours("wal"))), "it may import nothing"},
		{"session imports a middleware", ruleImports(pkg("proxy/session",
			"github.com/grpc-ecosystem/go-grpc-middleware/v2/metadata")), "that belongs to"},
		{"forward imports protobuf", ruleImports(pkg("proxy/forward", "google.golang.org/protobuf/proto")), "that belongs to"},
		{"envelope imports protowire", ruleImports(pkg("proxy/envelope",
			"google.golang.org/protobuf/encoding/protowire")), ""},
		{"envelope imports protobuf", ruleImports(pkg("proxy/envelope", "google.golang.org/protobuf/proto")), "that belongs to"},
		{"queue imports protowire", ruleImports(pkg("proxy/queue",
			"google.golang.org/protobuf/encoding/protowire")), "proxy/envelope"},
		{"admin imports bbolt", ruleImports(pkg("proxy/admin", "go.etcd.io/bbolt")), "wal/ledger"},
		{"edge imports pgx", ruleImports(pkg("proxy", "github.com/jackc/pgx/v5/pgconn")), "proxy/store/postgres"},
		{"a namesake of bbolt", ruleImports(pkg("proxy/admin", "go.etcd.io/bbolted")), ""},
		{"cmd imports all", ruleImports(pkg("cmd/engram-sidecar", ours("wal/ledger"), ours("proxy/admin"))), ""},
		{"cmd imports its own folder", ruleImports(pkg("cmd/engram-sidecar", ours("cmd/engram-sidecar/client"))), ""},
		{"cmd imports tidwall", ruleImports(pkg("cmd/engram-sidecar", "github.com/tidwall/wal")), "that belongs to wal;"},
		{"integration's test imports the journal", ruleImports(external(pkg("integration"), ours("wal"))), "integration imports wal"},
		{"integration imports its harness", ruleImports(pkg("integration/demo", ours("integration/harness"))), ""},
		{"a test of another room", ruleImports(external(pkg("proxy/forward"), ours("wal/ledger"))), ""},
		{"a new folder", ruleImports(pkg("proxy/util")), "a folder that is no room"},
		{"the module's root", ruleImports(rulePackage{ImportPath: ruleModule}), "a folder that is no room"},

		{"grpc by way of a library", ruleNoHiddenGRPC(linking(pkg("recovery"), "fmt", "google.golang.org/grpc")), "recovery links"},
		{"grpc where it belongs", ruleNoHiddenGRPC(linking(pkg("proxy"), "google.golang.org/grpc")), ""},

		{"no doc", rulePackageDoc(undocumented(pkg("wal"))), "write a doc.go"},
		{"a doc", rulePackageDoc(pkg("wal")), ""},

		{"not formatted", ruleGofmt("a.go", []byte("package a\nvar  x int\n")), "run make fmt"},
		{"no Go at all", ruleGofmt("a.go", []byte("package a\n\nfunc {\n")), "expected"},
		{"formatted", ruleGofmt("a.go", []byte("package a\n\nvar x int\n")), ""},
		{"not a Go file", ruleGofmt("a.md", []byte("var  x int\n")), ""},

		{"too long", ruleFileLength("wal/a.go", long(401)), "401 lines"},
		{"just long enough", ruleFileLength("wal/a.go", long(400)), ""},
		{"a long test", ruleFileLength("wal/a_test.go", long(401)), ""},
		{"long and generated", ruleFileLength("proto/a.pb.go", long(401)), ""},

		{"points outside", ruleOutside("docs/a.md", []byte("see .."+"/shared/spec")), "which no clone has"},
		{"stays inside", ruleOutside("docs/a.md", []byte("see ../proto")), ""},

		{"a module not named", ruleNotice("== Modules linked into the binary ==\na/b MIT\n\n== x", []string{"a/b", "c/d"}), "c/d is linked"},
		{"a module no longer linked", ruleNotice("== Modules linked into the binary ==\na/b MIT", nil), "a/b is named"},
		{"modules as named", ruleNotice("== Modules linked into the binary ==\na/b MIT\n\n== c", []string{"a/b"}), ""},

		{"a stray folder", ruleTopLevel([]string{"wal", "utils"}), "utils/: not a folder"},
		{"the folders there are", ruleTopLevel([]string{".git", ".ci", "wal", "bin", "docs"}), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			switch {
			case tc.want == "" && len(tc.got) != 0:
				t.Errorf("refused: %q", tc.got)
			case tc.want != "" && (len(tc.got) != 1 || !strings.Contains(tc.got[0], tc.want)):
				t.Errorf("got %q, want one message with %q", tc.got, tc.want)
			}
		})
	}
}
