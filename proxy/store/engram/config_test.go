package engram

import (
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for given, address := range map[string]string{
		"engram://localhost:7000": "localhost:7000",
		"engram://store.lan":      "store.lan:50051",
		"engram://store.lan/":     "store.lan:50051",
		"engram://[::1]:7000":     "[::1]:7000",
		"engram://[::1]":          "[::1]:50051",
		"engram://127.0.0.1":      "127.0.0.1:50051",
	} {
		c, err := Parse(given)
		if err != nil || c.Address != address {
			t.Errorf("%s: %q, %v; want %q", given, c.Address, err, address)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for given, says := range map[string]string{
		"embedded":                   `store "embedded": expected engram://host:port`,
		"http://localhost:50051":     "expected engram://host:port",
		"engram://":                  "expected engram://host:port",
		"engram://:50051":            "expected a host name",
		"engram://localhost:0":       `expected a port from 1 to 65535, got "0"`,
		"engram://localhost:70000":   `expected a port from 1 to 65535, got "70000"`,
		"engram://localhost:grpc":    `expected a port from 1 to 65535, got "grpc"`,
		"engram://localhost:7000/db": "expected a port from 1 to 65535",
		"engram://me@localhost:7000": "expected a host name",
		"engram://a b:7000":          "expected a host name",
	} {
		if _, err := Parse(given); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want it to say %q", given, err, says)
		}
	}
}

func TestOpenRefusesBadConfig(t *testing.T) {
	for _, c := range []Config{{}, {Address: "localhost"}, {Address: "localhost:1", Timeout: -time.Second}} {
		if s, err := Open(c, nil); err == nil {
			_ = s.Close()
			t.Errorf("%+v was taken", c)
		}
	}
}
