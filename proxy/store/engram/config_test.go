package engram

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for given, address := range map[string]string{
		"engram://localhost:7000":           "localhost:7000",
		"engram://store.lan":                "store.lan:50051",
		"engram://store.lan/":               "store.lan:50051",
		"engram://[::1]:7000":               "[::1]:7000",
		"engram://[::1]":                    "[::1]:50051",
		"engram://127.0.0.1":                "127.0.0.1:50051",
		"engrams://store.lan":               "store.lan:50051",
		"engram://a:1,b:2":                  "a:1,b:2",
		"engrams://a, b:2,[::1],10.0.0.1:3": "a:50051,b:2,[::1]:50051,10.0.0.1:3",
	} {
		c, err := Parse(given)
		if err != nil || c.Address != address || c.TLS != strings.HasPrefix(given, "engrams") {
			t.Errorf("%s: %q, TLS %v, %v; want %q", given, c.Address, c.TLS, err, address)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for given, says := range map[string]string{
		"embedded":                   `store: expected engram://host:port or engrams://host:port, with more of host:port behind commas, got "embedded"`,
		"http://localhost:50051":     "expected engram://host:port",
		"engram://":                  "expected engram://host:port",
		"engram://:50051":            "expected a host name",
		"engram://localhost:0":       `expected a port from 1 to 65535, got "0"`,
		"engram://localhost:70000":   `expected a port from 1 to 65535, got "70000"`,
		"engram://localhost:grpc":    `expected a port from 1 to 65535, got "grpc"`,
		"engram://localhost:7000/db": "expected a port from 1 to 65535",
		"engram://me@localhost:7000": "without a user: a token goes into store-token-file",
		"engram://a b:7000":          "expected a host name",
		"engram://a:1,,b:2":          "expected engram://host:port",
		"engrams://a:1,b:0":          `store: engrams://a:1,b:0: expected a port from 1 to 65535, got "0"`,
	} {
		if _, err := Parse(given); err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "store: ") {
			t.Errorf("%s: %v, want it to say %q", given, err, says)
		}
	}
}

func TestValidateNamesTheSetting(t *testing.T) {
	for says, c := range map[string]Config{
		"store-ca-file: it is for TLS":                                               {Address: "a:1", CAFile: "ca.pem"},
		"store-server-name: it is for TLS":                                           {Address: "a:1", ServerName: "b"},
		"store-cert-file: it is for TLS":                                             {Address: "a:1", CertFile: "c.pem", KeyFile: "k.pem"},
		"store-key-file: it is for TLS":                                              {Address: "a:1", KeyFile: "k.pem"},
		`store-cert-file: expected it and store-key-file together, got "c.pem"`:      {Address: "a:1", TLS: true, CertFile: "c.pem"},
		"store-token-file: the token would go to a:1 unencrypted":                    {Address: "a:1", TokenFile: "token"},
		"store-token-file: the token would go to localhost:1,10.0.0.1:1 unencrypted": {Address: "localhost:1,10.0.0.1:1", TokenFile: "token"},
		"store timeout": {Address: "a:1", Timeout: -1},
	} {
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%+v: %v, want it to say %q", c, err, says)
		}
	}
	for _, c := range []Config{
		{Address: "localhost:1,127.0.0.1:2,[::1]:3", TokenFile: "token"},
		{Address: "a:1", TLS: true, TokenFile: "token", CAFile: "ca.pem", ServerName: "b", CertFile: "c.pem", KeyFile: "k.pem"},
		{Address: "a:1", TokenFile: "token", PlainToken: true},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestOpenRefusesBadConfig(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("two words\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for says, c := range map[string]Config{
		"store: ":                           {},
		"store: engram://localhost: ":       {Address: "localhost"},
		"store timeout: ":                   {Address: "localhost:1", Timeout: -time.Second},
		"store-token-file: open /missing":   {Address: "localhost:1", TokenFile: "/missing"},
		"store-token-file: " + junk:         {Address: "localhost:1", TokenFile: junk},
		"store-ca-file: open /missing":      {Address: "localhost:1", TLS: true, CAFile: "/missing"},
		"store-ca-file: " + junk:            {Address: "localhost:1", TLS: true, CAFile: junk},
		"store-cert-file, store-key-file: ": {Address: "localhost:1", TLS: true, CertFile: junk, KeyFile: junk},
	} {
		s, err := Open(c, nil)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%+v: %v, want it to say %q", c, err, says)
		}
	}
}
