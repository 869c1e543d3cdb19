package config

import (
	"strings"
	"testing"
	"time"
)

func TestDefaultDataDir(t *testing.T) {
	cases := []struct {
		name string
		env  []string
		want string
	}{
		{"systemd's", []string{"STATE_DIRECTORY=/var/lib/s", "XDG_STATE_HOME=/x", "HOME=/h"}, "/var/lib/s"},
		{"the first of several", []string{"STATE_DIRECTORY=/var/lib/a:/var/lib/b"}, "/var/lib/a"},
		{"XDG", []string{"XDG_STATE_HOME=/x", "HOME=/h"}, "/x/engram-sidecar"},
		{"a relative XDG is ignored", []string{"XDG_STATE_HOME=x", "HOME=/h"}, "/h/.local/state/engram-sidecar"},
		{"home", []string{"HOME=/h"}, "/h/.local/state/engram-sidecar"},
		{"the last of two", []string{"HOME=/g", "HOME=/h"}, "/h/.local/state/engram-sidecar"},
		{"nothing", nil, ""},
	}
	for _, c := range cases {
		if got := Default(lookupIn(c.env)).DataDir; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	cases := []struct {
		name   string
		change func(*Config)
		says   string // "" for a setting that is fine
	}{
		{"as it is", func(*Config) {}, ""},
		{"localhost", func(c *Config) { c.Listen = "localhost:0" }, ""},
		{"another loopback address", func(c *Config) { c.Listen = "127.8.8.8:1" }, ""},
		{"IPv4 in IPv6", func(c *Config) { c.Listen = "[::ffff:127.0.0.1]:1" }, ""},
		{"a unix socket", func(c *Config) { c.Listen = "unix:///run/s.sock" }, ""},
		{"a certificate without its key", func(c *Config) { c.TLSCert = "/c" }, "tls-key: expected it together with tls-cert"},
		{"a key without its certificate", func(c *Config) { c.TLSKey = "/c" }, "tls-key: expected it together with tls-cert"},
		{"clients' certificates without an own", func(c *Config) { c.TLSClientCA = "/c" }, "tls-client-ca: expected tls-cert"},
		{"a wide admin in the clear", func(c *Config) { c.TLSCert, c.TLSKey, c.AdminListen = "/c", "/k", ":50052" }, "admin-listen: \":50052\" can be reached"},
		{"admin over TLS without a certificate", func(c *Config) { c.AdminTLS = true }, "admin-tls: expected tls-cert"},
		{"users of a TCP port", func(c *Config) { c.ListenUsers = Users{1} }, "listen-users: expected listen to be a unix socket"},
		{"everywhere", func(c *Config) { c.Listen = "0.0.0.0:50051" }, "listen: \"0.0.0.0:50051\" can be reached from other machines"},
		{"everywhere, shorter", func(c *Config) { c.Listen = ":50051" }, "can be reached"},
		{"everywhere in IPv6", func(c *Config) { c.Listen = "[::]:50051" }, "can be reached"},
		{"a name that may be anything", func(c *Config) { c.Listen = "myhost:50051" }, "can be reached"},
		{"a wide admin", func(c *Config) { c.AdminListen = "10.0.0.1:50052" }, "admin-listen: \"10.0.0.1:50052\" can be reached"},
		{"everywhere, insisted on", func(c *Config) { c.Listen, c.AdminListen, c.InsecureListen = ":1", "0.0.0.0:2", true }, ""},
		{"wide with TLS", func(c *Config) { c.Listen, c.TLSCert, c.TLSKey = ":1", "/c", "/k" }, ""},
		{"wide with tokens", func(c *Config) { c.Listen, c.AdminListen, c.TokenFile = ":1", ":2", "/t" }, ""},
		{"a wide admin with its tokens", func(c *Config) { c.AdminListen, c.AdminTokenFile = ":2", "/t" }, ""},
		{"admin's tokens open no gRPC", func(c *Config) { c.Listen, c.AdminTokenFile = ":1", "/t" }, "listen: \":1\" can be reached"},
		{"no port", func(c *Config) { c.Listen = "127.0.0.1" }, "listen: expected host:port or unix:///path"},
		{"a named port", func(c *Config) { c.Listen = "127.0.0.1:http" }, "listen: expected host:port"},
		{"a port too high", func(c *Config) { c.Listen = "127.0.0.1:65536" }, "listen: expected host:port"},
		{"a relative socket", func(c *Config) { c.Listen = "unix://run/s.sock" }, "absolute path"},
		{"a socket path too long", func(c *Config) { c.Listen = "unix:///" + strings.Repeat("x", 107) }, "at most 107 bytes"},
		{"an admin socket", func(c *Config) { c.AdminListen = "unix:///run/a.sock" }, "HTTP is not served on a unix socket"},
		{"Engram", func(c *Config) { c.Store = "engram://10.0.0.1:50051" }, ""},
		{"Engram at its usual port", func(c *Config) { c.Store = "engram://db" }, ""},
		{"Engram over TLS, several", func(c *Config) { c.Store = "engrams://a:1,b:2" }, ""},
		{"one of several without port", func(c *Config) { c.Store = "engram://a:1,b:x" }, `store: engram://a:1,b:x: expected a port from 1 to 65535, got "x"`},
		{"a token in the clear", func(c *Config) { c.Store, c.StoreTo.TokenFile = "engram://db:1", "t" }, "store-token-file: the token would go to db:1 unencrypted"},
		{"a token in the clear, insisted on", func(c *Config) { c.Store, c.StoreTo = "engram://db:1", StoreTo{TokenFile: "t", PlainToken: true} }, ""},
		{"certificates without TLS", func(c *Config) { c.Store, c.StoreTo.CAFile = "engram://db:1", "ca.pem" }, "store-ca-file: it is for TLS"},
		{"a token for the embedded store", func(c *Config) { c.StoreTo.TokenFile = "t" }, "store-token-file: it is for a store of engram://"},
		{"a proxy for the embedded store", func(c *Config) { c.StoreTo.Proxy = true }, "store-proxy: it is for a store of engram://"},
		{"Engram without address", func(c *Config) { c.Store = "engram://" }, "store: engram://: expected engram://host:port"},
		{"Engram without host", func(c *Config) { c.Store = "engram://:1" }, "store: engram://:1: expected a host name"},
		{"embedded has no address", func(c *Config) { c.Store = "embedded://x" }, "store: expected embedded, engram"},
		{"an unknown store", func(c *Config) { c.Store = "sqlite" }, `store: expected embedded, engram://host:port or postgres://user@host:port/database, got "sqlite"`},
		{"PostgreSQL", func(c *Config) { c.Store = "postgres://me@db:5432/engram?sslmode=verify-full" }, ""},
		{"PostgreSQL by its other name", func(c *Config) { c.Store = "postgresql://db/engram" }, ""},
		{"an index nobody knows", func(c *Config) { c.Store, c.PostgresIndex = "postgres://db/engram", "ivfflat" }, `postgres-index: expected none or hnsw, got "ivfflat"`},
		{"no data directory", func(c *Config) { c.DataDir = "" }, "give --data-dir"},
		{"a space too short", func(c *Config) { c.DefaultSpace = "ab" }, `default-space: expected 3 to 64 characters of a-z 0-9 - _, got "ab"`},
		{"a space in capitals", func(c *Config) { c.DefaultSpace = "Default" }, "default-space"},
		{"no time at all", func(c *Config) { c.SessionTimeout = 0 }, "session-timeout: expected 1s to 720h, got 0s"},
		{"a year", func(c *Config) { c.SessionTimeout = 366 * 24 * time.Hour }, "session-timeout"},
		{"a tiny journal", func(c *Config) { c.JournalBytes = MiB }, "journal-max-bytes: expected 0 for automatic, or at least 16MiB, got 1MiB"},
		{"an unknown format", func(c *Config) { c.LogFormat = "xml" }, "log-format: expected auto, text or json"},
		{"no level", func(c *Config) { c.LogLevel = "" }, "log-level"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			config := Default(lookupIn(home))
			c.change(&config)
			err := config.Validate()
			switch {
			case c.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("error %v does not say %q", err, c.says)
			}
		})
	}
}

func TestStoreKind(t *testing.T) {
	if kind, address := (Config{Store: "engram://h:1"}).StoreKind(); kind != "engram" || address != "h:1" {
		t.Errorf("got %s %s", kind, address)
	}
	for given, want := range map[string][3]string{
		"postgres://me:hush@db:5432/engram?sslmode=require&password=hush": {"postgres", "db:5432/engram", "postgres://db:5432/engram"},
		"postgresql://me:hush@db/engram":                                  {"postgres", "db/engram", "postgres://db/engram"},
		"postgres://me:hu%sh@db/engram":                                   {"postgres", "(unreadable)", "postgres://(unreadable)"},
		"postgre://me:hu@sh@db/engram?password=hush":                      {"postgre", "me:hu@sh@db/engram?password=hush", "postgre://db/engram"},
		"engrams://h:1": {"engram", "h:1", "engrams://h:1"},
		"engram://h:1":  {"engram", "h:1", "engram://h:1"},
	} {
		c := Config{Store: given}
		if kind, address := c.StoreKind(); kind != want[0] || address != want[1] || c.StoreShown() != want[2] {
			t.Errorf("%s is %s at %s, shown as %s", given, kind, address, c.StoreShown())
		}
	}
	if kind, address := (Config{Store: "embedded"}).StoreKind(); kind != "embedded" || address != "" {
		t.Errorf("got %s %s", kind, address)
	}
}

func TestSizes(t *testing.T) {
	good := map[string]Size{
		"0": 0, "1024": KiB, "1KiB": KiB, "512MiB": 512 * MiB, "10GiB": 10 * GiB, "2TiB": 2 * TiB, " 1 MiB ": MiB,
		"1.5GiB": 3 * GiB / 2, "10GB": 1e10, "3kB": 3000, "3KB": 3000, "7MB": 7e6, "1TB": 1e12, "5B": 5,
	}
	for in, want := range good {
		var got Size
		if err := got.UnmarshalText([]byte(in)); err != nil || got != want {
			t.Errorf("%q = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-1", "1.5", "MiB", "1 XiB", "1e400GiB", "-2GiB", "NaNGiB", "99999999999TiB", "1Gi", "0x10"} {
		var got Size
		if err := got.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q was taken as %d", in, got)
		}
	}
	for size, want := range map[Size]string{0: "0", 1: "1", KiB: "1KiB", 1536 * MiB: "1536MiB", GiB: "1GiB", 2 * TiB: "2TiB", 1e10: "9765625KiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d is written %s, want %s", uint64(size), got, want)
		}
	}
}

func TestLanes(t *testing.T) {
	var l Lanes
	if err := l.UnmarshalText([]byte("1, 20,0")); err != nil || l != (Lanes{1, 20, 0}) {
		t.Errorf("got %v, %v", l, err)
	}
	for _, in := range []string{"", "1,2", "1,2,3,4", "1,-2,3", "a,b,c"} {
		if err := l.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}
