package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// guards says what makes an address fit for other machines.
var guards = map[string]string{
	"listen":       "give tls-cert with tls-key, or token-file",
	"admin-listen": "give token-file or admin-token-file, or admin-tls",
}

// guarded says that an address which other machines can reach is encrypted, or asks for a token.
func (c Config) guarded(key string) bool {
	if key == "admin-listen" {
		return c.AdminTLS || c.AdminTokens() != ""
	}
	return c.TLSCert != "" || c.TokenFile != ""
}

// AdminTokens is the file of the tokens that open the admin address, "" for none.
func (c Config) AdminTokens() string {
	if c.AdminTokenFile != "" {
		return c.AdminTokenFile
	}
	return c.TokenFile
}

func (c Config) validateAccess() error {
	var errs []error
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, errors.New("tls-key: expected it together with tls-cert, got one of them"))
	}
	if c.TLSClientCA != "" && c.TLSCert == "" {
		errs = append(errs, errors.New("tls-client-ca: expected tls-cert and tls-key with it, got neither"))
	}
	if c.AdminTLS && c.TLSCert == "" {
		errs = append(errs, errors.New("admin-tls: expected tls-cert and tls-key with it, got neither"))
	}
	if len(c.ListenUsers) > 0 && !strings.HasPrefix(c.Listen, "unix://") {
		errs = append(errs, fmt.Errorf("listen-users: expected listen to be a unix socket, got %q: users are known there alone", c.Listen))
	}
	return errors.Join(errs...)
}

// Users is a list of user ids.
type Users []int

// UnmarshalText reads numbers separated by commas.
func (u *Users) UnmarshalText(text []byte) error {
	var users Users
	for part := range strings.SplitSeq(string(text), ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(part), 10, 31)
		if err != nil {
			return fmt.Errorf("expected user ids such as 1000,1001, got %q", text)
		}
		users = append(users, int(n))
	}
	*u = users
	return nil
}

// Warnings are what works, and is better known.
func (c Config) Warnings() []string {
	var all []string
	wide := func(address string) bool {
		return !strings.HasPrefix(address, "unix://") && !isLoopback(hostOf(address))
	}
	if wide(c.Listen) {
		switch {
		case c.TLSCert == "":
			all = append(all, fmt.Sprintf("listen: %q is not encrypted: what is said there, tokens too, can be read on the way; give tls-cert and tls-key", c.Listen))
		case c.TLSClientCA == "" && c.TokenFile == "":
			all = append(all, fmt.Sprintf("listen: %q is encrypted, and whoever reaches it can read and write; give tls-client-ca or token-file", c.Listen))
		}
	}
	if wide(c.AdminListen) {
		switch {
		case !c.AdminTLS:
			all = append(all, fmt.Sprintf("admin-listen: %q is not encrypted: what is said there, tokens too, can be read on the way; give admin-tls", c.AdminListen))
		case c.AdminTokens() == "":
			all = append(all, fmt.Sprintf("admin-listen: %q is encrypted, and whoever reaches it can read it; give admin-token-file", c.AdminListen))
		}
	}
	return all
}

func hostOf(address string) string {
	host, _, _ := net.SplitHostPort(address) // Validate has seen it
	return host
}
