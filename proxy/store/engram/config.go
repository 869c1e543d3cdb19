package engram

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Scheme begins the address of an Engram store in the configuration.
const Scheme = "engram://"

// defaultPort is where an Engram server serves gRPC unless told otherwise.
const defaultPort = "50051"

// Config says where the Engram server is and how patient to be with it.
type Config struct {
	// Address is where the server listens, host:port. Required.
	Address string
	// Timeout is how long a Put waits for the next answer, and a single call for its own, before the server counts as
	// unavailable. 30 s by default.
	Timeout time.Duration
}

// Parse reads what an operator gave as `store`: engram://host or engram://host:port.
func Parse(store string) (Config, error) {
	rest, ok := strings.CutPrefix(store, Scheme)
	if !ok {
		return Config{}, fmt.Errorf("store %q: expected %shost:port", store, Scheme)
	}
	c := Config{Address: strings.TrimSuffix(rest, "/")}
	if _, _, err := net.SplitHostPort(c.Address); err != nil && c.Address != "" {
		c.Address = net.JoinHostPort(strings.Trim(c.Address, "[]"), defaultPort)
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Validate says what is wrong with the configuration, in the operator's words.
func (c Config) Validate() error {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return fmt.Errorf("store %s%s: expected %shost:port: %w", Scheme, c.Address, Scheme, err)
	}
	if host == "" || strings.ContainsAny(host, "/@?# ") {
		return fmt.Errorf("store %s%s: expected a host name or an IP address before the port", Scheme, c.Address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("store %s%s: expected a port from 1 to 65535, got %q", Scheme, c.Address, port)
	}
	if c.Timeout < 0 {
		return fmt.Errorf("store timeout %v: expected a positive duration", c.Timeout)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	return c
}
