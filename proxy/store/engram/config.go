package engram

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// What begins the address of an Engram store in the configuration: without encryption, and with TLS.
const (
	Scheme    = "engram://"
	SchemeTLS = "engrams://"
)

// defaultPort is where an Engram server serves gRPC unless told otherwise.
const defaultPort = "50051"

// Config says where the Engram servers are, how to show them who one is, and how patient to be with them. Keys in the
// operator's configuration are named with each field.
type Config struct {
	// Address is where the server listens, host:port, or several of them with commas between. One name stands for all
	// addresses that DNS has for it; of several each is one server. Calls go round them. Required. Key: store.
	Address string
	// TLS encrypts, and makes sure that the server is the one that was asked for. Key: store, beginning with engrams://.
	TLS bool
	// CAFile holds the certificates, in PEM, by one of which the server's has to be signed; the system's without. Read at
	// Open. Key: store-ca-file.
	CAFile string
	// ServerName is who the server's certificate has to be for, instead of the host. Key: store-server-name.
	ServerName string
	// CertFile and KeyFile hold the certificate that is shown to the server, in PEM. Read at each handshake. Keys:
	// store-cert-file, store-key-file.
	CertFile, KeyFile string
	// TokenFile holds the token that goes with each call, as authorization: Bearer. Read at each call, so that a new token
	// needs no start. Key: store-token-file.
	TokenFile string
	// PlainToken allows the token to go to other machines without TLS. Key: insecure-store.
	PlainToken bool
	// Proxy allows the way through a proxy that the environment names (HTTPS_PROXY, NO_PROXY). Key: store-proxy.
	Proxy bool
	// Timeout is how long a Put waits for the next answer, and a single call for its own, before the server counts as
	// unavailable. 30 s by default.
	Timeout time.Duration
}

// expected is the form of an address, as messages show it.
const expected = Scheme + "host:port or " + SchemeTLS + "host:port, with more of host:port behind commas"

// Parse reads what an operator gave as `store`: engram://host:port, or engrams:// for TLS, with the port left out where it is
// 50051, and with more addresses behind commas.
func Parse(store string) (Config, error) {
	var c Config
	if strings.Contains(store, "@") { // there may be a password before it, which no message shall show
		return Config{}, fmt.Errorf("store: expected %s, without a user: a token goes into store-token-file", expected)
	}
	list, ok := strings.CutPrefix(store, Scheme)
	if !ok {
		if list, c.TLS = strings.CutPrefix(store, SchemeTLS); !c.TLS {
			return Config{}, fmt.Errorf("store: expected %s, got %q", expected, store)
		}
	}
	addresses := strings.Split(strings.TrimSuffix(list, "/"), ",")
	for i, address := range addresses {
		address = strings.TrimSpace(address)
		if _, _, err := net.SplitHostPort(address); err != nil && address != "" {
			address = net.JoinHostPort(strings.Trim(address, "[]"), defaultPort)
		}
		addresses[i] = address
	}
	c.Address = strings.Join(addresses, ",")
	if err := c.validateAddresses(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// scheme is what began the address.
func (c Config) scheme() string {
	if c.TLS {
		return SchemeTLS
	}
	return Scheme
}

func (c Config) addresses() []string { return strings.Split(c.Address, ",") }

// Validate says what is wrong with the configuration, in the operator's words. Files are looked at by Open.
func (c Config) Validate() error {
	if err := c.validateAddresses(); err != nil {
		return err
	}
	for _, file := range []struct{ key, value string }{
		{"store-ca-file", c.CAFile}, {"store-server-name", c.ServerName}, {"store-cert-file", c.CertFile}, {"store-key-file", c.KeyFile},
	} {
		if file.value != "" && !c.TLS {
			return fmt.Errorf("%s: it is for TLS: expected a store of %shost:port, got %s%s", file.key, SchemeTLS, Scheme, c.Address)
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return fmt.Errorf("store-cert-file: expected it and store-key-file together, got %q and %q", c.CertFile, c.KeyFile)
	}
	if c.TokenFile != "" && !c.TLS && !c.local() && !c.PlainToken {
		return fmt.Errorf("store-token-file: the token would go to %s unencrypted: use %s, or insist with insecure-store", c.Address, SchemeTLS)
	}
	if c.Timeout < 0 {
		return fmt.Errorf("store timeout: expected a positive duration, got %v", c.Timeout)
	}
	return nil
}

func (c Config) validateAddresses() error {
	var errs []error
	for _, address := range c.addresses() {
		if err := validateAddress(address); err != nil {
			errs = append(errs, fmt.Errorf("store: %s%s: %w", c.scheme(), c.Address, err))
		}
	}
	return errors.Join(errs...)
}

func validateAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("expected %s: %w", expected, err)
	}
	if host == "" || strings.ContainsAny(host, "/@?#%\\ ") {
		return fmt.Errorf("expected a host name or an IP address before the port, got %q", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("expected a port from 1 to 65535, got %q", port)
	}
	return nil
}

// local says that all addresses are this machine's own. Of any name but localhost it cannot be told.
func (c Config) local() bool {
	for _, address := range c.addresses() {
		host, _, _ := net.SplitHostPort(address)
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) {
			return false
		}
	}
	return true
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	return c
}
