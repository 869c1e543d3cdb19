package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// home is an environment in which only the defaults hold.
var home = []string{"HOME=/home/u"}

func inTestdata(name string) string {
	if name == "" {
		return ""
	}
	return filepath.Join("testdata", name)
}

func TestDefaults(t *testing.T) {
	got, err := Load(Sources{Environ: home, File: inTestdata("empty.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Listen: "127.0.0.1:50051", AdminListen: "127.0.0.1:50052", DataDir: "/home/u/.local/state/engram-sidecar",
		Store: "embedded", PostgresIndex: "none", DefaultSpace: "default", SessionTimeout: 5 * time.Minute, LogLevel: "info", LogFormat: "auto",
		MaxSessions: 20_000, MaxConnections: 16_384, MaxStreams: 1024, MaxCancelled: 500, MaxRefused: 10_000, MaxEpisode: 256 * KiB, MaxMessage: MiB,
		DeadLetters: 100_000, DeadLetterBytes: 256 * MiB,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

// TestHelpTellsTheDefaults keeps the defaults that help shows from drifting off those that hold.
func TestHelpTellsTheDefaults(t *testing.T) {
	var fromHelp Config
	for _, s := range Settings {
		if s.Name == "data-dir" || s.Default == "none" && s.Name != "postgres-index" || s.Name == "listen-users" { // depend on the environment, or say it in words
			continue
		}
		if err := s.parse(&fromHelp, s.Default); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	if diff := cmp.Diff(Default(func(string) string { return "" }), fromHelp); diff != "" {
		t.Errorf("help's defaults differ (-real +help):\n%s", diff)
	}
}

func TestEverySettingFromEverySource(t *testing.T) {
	want := Config{
		Listen: "unix:///run/engram-sidecar/grpc.sock", AdminListen: "[::1]:6000", DataDir: "/var/lib/sidecar",
		Store: "engrams://db.internal:50051,db2.internal:50051", PostgresIndex: "hnsw", PostgresSearch: 200, DefaultSpace: "agents", SessionTimeout: 90 * time.Minute,
		JournalBytes: 512 * MiB, LaneCapacity: Lanes{1, 2000, 300000}, LogLevel: "debug", LogFormat: "json",
		Strict: true, InsecureListen: true, JournalReserve: 64 * MiB, MaxSessions: 100, MaxConnections: 50, MaxStreams: 10, MaxCancelled: 20, MaxRefused: 2000, ClientBytes: 2 * MiB, ClientWrites: 1000,
		EmbeddedMax: 2_000_000, MaxEpisode: 128 * KiB, MaxMessage: 512 * KiB, DeadLetters: 500, DeadLetterBytes: 8 * MiB,
		TokenFile: "/etc/s/tokens", AdminTokenFile: "/etc/s/ops", TLSCert: "/etc/s/crt", TLSKey: "/etc/s/key", TLSClientCA: "/etc/s/ca",
		AdminTLS: true, ListenUsers: Users{1000, 1001}, Pprof: true,
		StoreTo: StoreTo{
			TokenFile: "/run/token", CAFile: "/run/ca.pem", ServerName: "db", CertFile: "/run/cert.pem", KeyFile: "/run/key.pem",
			Proxy: true, PlainToken: true,
		},
	}
	flags := map[string]string{
		"listen": want.Listen, "admin-listen": want.AdminListen, "data-dir": want.DataDir, "store": want.Store,
		"default-space": "agents", "session-timeout": "1h30m", "journal-max-bytes": "512MiB", "lane-capacity": "1,2000,300000",
		"log-level": "debug", "log-format": "json", "strict": "true", "insecure-listen": "true",
		"journal-reserve-bytes": "64MiB", "max-sessions": "100", "max-connections": "50", "max-streams-per-connection": "10", "max-cancelled-calls": "20", "max-refused-messages": "2000", "client-bytes-per-second": "2MiB", "client-observations-per-second": "1000",
		"token-file": "/etc/s/tokens", "admin-token-file": "/etc/s/ops", "tls-cert": "/etc/s/crt", "tls-key": "/etc/s/key",
		"tls-client-ca": "/etc/s/ca", "admin-tls": "true", "listen-users": "1000, 1001", "pprof": "true",
		"embedded-max-memories": "2000000", "max-episode-bytes": "128KiB", "max-message-bytes": "512KiB", "postgres-index": "hnsw", "postgres-ef-search": "200",
		"dead-letters-max": "500", "dead-letters-max-bytes": "8MiB",
		"store-token-file": "/run/token", "store-ca-file": "/run/ca.pem", "store-server-name": "db", "store-cert-file": "/run/cert.pem",
		"store-key-file": "/run/key.pem", "store-proxy": "true", "insecure-store": "true",
	}
	var environ []string
	for name, value := range flags {
		environ = append(environ, EnvName(name)+"="+value)
	}
	for name, src := range map[string]Sources{
		"flags": {Flags: flags}, "environment": {Environ: environ}, "file": {File: inTestdata("full.yaml")},
		"file named by the environment": {Environ: []string{"ENGRAM_SIDECAR_CONFIG=" + inTestdata("full.yaml")}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Load(src)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if len(flags) != len(Settings) {
		t.Errorf("%d settings are tested, there are %d", len(flags), len(Settings))
	}
}

func TestPrecedence(t *testing.T) {
	src := Sources{
		Flags:   map[string]string{"listen": "unix:///1"},
		Environ: []string{"ENGRAM_SIDECAR_LISTEN=unix:///2", "ENGRAM_SIDECAR_DEFAULT_SPACE=from-env", "ENGRAM_SIDECAR_LOG_LEVEL="},
		File:    inTestdata("full.yaml"),
	}
	got, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "unix:///1" {
		t.Errorf("listen %s: the flag does not win", got.Listen)
	}
	if got.DefaultSpace != "from-env" {
		t.Errorf("default-space %s: the environment does not win over the file", got.DefaultSpace)
	}
	if got.LogLevel != "debug" {
		t.Errorf("log-level %s: an empty variable won over the file", got.LogLevel)
	}
}

func TestNumbersInAFile(t *testing.T) {
	got, err := Load(Sources{Environ: home, File: inTestdata("numbers.yaml")})
	if err != nil || got.JournalBytes != GiB || got.Strict {
		t.Errorf("got %v, strict %v, %v", got.JournalBytes, got.Strict, err)
	}
}

func TestRefusals(t *testing.T) {
	cases := []struct {
		name  string
		file  string
		env   string
		flags map[string]string
		says  []string
	}{
		{name: "a typo in the file", file: "typo.yaml", says: []string{"listn: unknown setting (testdata/typo.yaml): did you mean listen?"}},
		{name: "nothing near", file: "far.yaml", says: []string{"zzz: unknown setting", "expected one of listen,"}},
		{name: "keys do not nest", file: "nested.yaml", says: []string{"journal.max-bytes: unknown setting", "did you mean journal-max-bytes?"}},
		{name: "the file names a file", file: "itself.yaml", says: []string{"config: unknown setting"}},
		{name: "a key given twice", file: "twice.yaml", says: []string{"twice.yaml", "already defined"}},
		{name: "no YAML", file: "broken.yaml", says: []string{`reading "testdata/broken.yaml"`}},
		{name: "no such file", file: "missing.yaml", says: []string{`reading "testdata/missing.yaml"`, "no such file"}},
		{name: "a key without a value", file: "empty_value.yaml", says: []string{"data-dir: expected a value, got none"}},
		{name: "all that is wrong at once", file: "bad_values.yaml", says: []string{
			`session-timeout: expected a duration such as 5m or 1h30m, got "300" (from testdata/bad_values.yaml)`,
			`journal-max-bytes: expected a size such as 512MiB, 10GB or a number of bytes, got "lots"`,
			`lane-capacity: expected three numbers for high,normal,low such as 0,100000,1000, got "5"`,
			`strict: expected true or false, got "maybe"`,
		}},
		{name: "a typo in the environment", env: "ENGRAM_SIDECAR_DATADIR=/x", says: []string{"ENGRAM_SIDECAR_DATADIR: unknown setting (environment): did you mean ENGRAM_SIDECAR_DATA_DIR?"}},
		{name: "a bad value in the environment", env: "ENGRAM_SIDECAR_STORE=redis", says: []string{`store: expected embedded, engram://host:port or postgres://user@host:port/database, got "redis" (from environment)`}},
		{name: "a bad value by flag", flags: map[string]string{"log-level": "loud"}, says: []string{`got "loud" (from command line)`}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(Sources{File: inTestdata(c.file), Environ: append(home, c.env), Flags: c.flags})
			if err == nil {
				t.Fatal("taken")
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

func TestKubernetesVariablesAreNoSettings(t *testing.T) {
	environ := append(home, "ENGRAM_SIDECAR_SERVICE_HOST=10.0.0.1", "ENGRAM_SIDECAR_SERVICE_PORT=50051",
		"ENGRAM_SIDECAR_SERVICE_PORT_GRPC=50051", "ENGRAM_SIDECAR_PORT=tcp://10.0.0.1:50051",
		"ENGRAM_SIDECAR_PORT_50051_TCP_ADDR=10.0.0.1")
	if _, err := Load(Sources{Environ: environ}); err != nil {
		t.Error(err)
	}
}

func TestNearest(t *testing.T) {
	cases := []struct{ name, want string }{
		{"listen", "listen"},
		{"lisen", "listen"},
		{"datadir", "data-dir"},
		{"data_dir", "data-dir"},
		{"sesion-timout", "session-timeout"},
		{"loglevel", "log-level"},
		{"stroe", "store"},
		{"x", ""},
		{"", ""},
		{"completely-different", ""},
	}
	for _, c := range cases {
		if got := Nearest(c.name, Names()); got != c.want {
			t.Errorf("Nearest(%q) = %q, want %q", c.name, got, c.want)
		}
	}
}
