package config

import (
	"fmt"

	"github.com/engram-sidecar/engram-sidecar/proxy/store/engram"
)

// StoreTo says how to talk to an Engram store.
type StoreTo struct {
	TokenFile  string // the token that goes with each call
	CAFile     string // whose certificates count
	ServerName string // who the store's certificate has to be for
	CertFile   string // the certificate that is shown to the store
	KeyFile    string
	Proxy      bool // through a proxy that the environment names
	PlainToken bool // the token may go to other machines unencrypted
}

// Engram is the configuration of an Engram store.
func (c Config) Engram() (engram.Config, error) {
	e, err := engram.Parse(c.Store)
	if err != nil {
		return engram.Config{}, err
	}
	to := c.StoreTo
	e.TokenFile, e.CAFile, e.ServerName, e.CertFile, e.KeyFile = to.TokenFile, to.CAFile, to.ServerName, to.CertFile, to.KeyFile
	e.Proxy, e.PlainToken = to.Proxy, to.PlainToken
	return e, e.Validate()
}

// validateNone refuses what another store has no use for.
func (s StoreTo) validateNone() error {
	for _, given := range []struct {
		key string
		set bool
	}{
		{"store-token-file", s.TokenFile != ""},
		{"store-ca-file", s.CAFile != ""},
		{"store-server-name", s.ServerName != ""},
		{"store-cert-file", s.CertFile != ""},
		{"store-key-file", s.KeyFile != ""},
		{"store-proxy", s.Proxy},
		{"insecure-store", s.PlainToken},
	} {
		if given.set {
			return fmt.Errorf("%s: it is for a store of engram:// or engrams://: leave it out with any other", given.key)
		}
	}
	return nil
}
