package config

import (
	"os"
	"strings"
	"testing"
)

// TestReference keeps docs/configuration.md what the settings are. UPDATE=1 writes it.
func TestReference(t *testing.T) {
	const file = "../../../../docs/configuration.md"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != Reference() {
		t.Error("docs/configuration.md is not what the settings are: UPDATE=1 go test ./cmd/engram-sidecar/... -run TestReference writes it")
	}
	for name := range live {
		if find(name) == nil {
			t.Errorf("%s is said to change at SIGHUP, and is no setting", name)
		}
	}
}

// TestExampleWithoutItsRemarks takes away every # in front of a setting that has a value for a default.
func TestExampleWithoutItsRemarks(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(Example()) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "#"), ":"); ok && find(name) != nil && plainDefault(find(name)) {
			b.WriteString(strings.TrimPrefix(line, "#"))
		}
	}
	file := t.TempDir() + "/example.yaml"
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(Sources{Environ: home, File: file})
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(lookupIn(home)); got.Listen != want.Listen || got.LaneCapacity != want.LaneCapacity || got.MaxEpisode != want.MaxEpisode || got.LogLevel != want.LogLevel {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n := strings.Count(b.String(), "\n"); n < 15 {
		t.Errorf("only %d settings:\n%s", n, b.String())
	}
}

func TestSecretsAreHidden(t *testing.T) {
	cases := map[string]string{
		"engram://10.0.0.1:50051":                           "engram://10.0.0.1:50051",
		"postgres://user:s3cret@db/x?sslmode=require":       "postgres://user:xxxxx@db/x?sslmode=require",
		"postgres://user@db/x":                              "postgres://user@db/x",
		"postgres://user:s3/cr@et@db/x":                     "postgres://xxxxx@db/x",
		"postgres://db/x?password=s3cret&sslmode=disable":   "postgres://db/x?password=xxxxx&sslmode=disable",
		"host=db password=s3cret user=u":                    "host=db password=xxxxx user=u",
		"host=db password = 's3 cret' user=u":               "host=db password = xxxxx user=u",
		"cannot connect to postgres://u:s3cret@db/x: later": "cannot connect to postgres://xxxxx@db/x: later",
	}
	for in, want := range cases {
		got := HideSecrets(in)
		if strings.Contains(got, "s3") || !strings.Contains(in, "cannot") && got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestEffectiveNamesItsSources(t *testing.T) {
	_, all, err := LoadEffective(Sources{
		Flags: map[string]string{"log-level": "debug"}, Environ: append(home, "ENGRAM_SIDECAR_DEFAULT_SPACE=agents"), File: inTestdata("numbers.yaml"),
	})
	if err != nil || len(all) != len(Settings) {
		t.Fatalf("%d of %d settings, %v", len(all), len(Settings), err)
	}
	by := map[string]Effective{}
	for _, e := range all {
		by[e.Name] = e
	}
	for name, want := range map[string]Effective{
		"log-level":     {"log-level", "debug", "command line"},
		"default-space": {"default-space", "agents", "environment"},
		"listen":        {"listen", "127.0.0.1:50051", "default"},
		"data-dir":      {"data-dir", "/home/u/.local/state/engram-sidecar", "default"},
		"token-file":    {"token-file", "", "default"},
	} {
		if by[name] != want {
			t.Errorf("%+v, want %+v", by[name], want)
		}
	}
	if by["journal-max-bytes"].Source != inTestdata("numbers.yaml") {
		t.Errorf("%+v", by["journal-max-bytes"])
	}
	_, again, err := LoadEffective(Sources{Environ: home, File: inTestdata("numbers.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(Changed(all, again), " "); got != "default-space log-level" {
		t.Errorf("changed: %s", got)
	}
}
