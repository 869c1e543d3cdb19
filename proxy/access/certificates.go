package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// Certificates is what a server shows its clients, and what it wants to see of them.
type Certificates struct {
	cert, key, clientCA string
	config              atomic.Pointer[tls.Config]
}

// LoadCertificates reads a certificate chain, its key, and where clientCA is not "" the certificates of those who sign the
// clients'. All three are PEM files; the key's must be private.
func LoadCertificates(cert, key, clientCA string) (*Certificates, error) {
	c := &Certificates{cert: cert, key: key, clientCA: clientCA}
	return c, c.Reload()
}

// Reload reads the files again, for connections made from then on. Where that fails those of before go on to hold.
func (c *Certificates) Reload() error {
	chain, err := os.ReadFile(c.cert)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	key, err := ReadSecret(c.key)
	if err != nil {
		return fmt.Errorf("certificate's key: %w", err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.cert, c.key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.clientCA != "" {
		if config.ClientCAs, err = LoadCA(c.clientCA); err != nil {
			return err
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.config.Store(config)
	return nil
}

// Server is a configuration that follows each reload. protocols are offered to clients, such as h2.
func (c *Certificates) Server(protocols ...string) *tls.Config { return c.server(true, protocols) }

// ServerForAnyone is the same without a wish for the clients' certificates.
func (c *Certificates) ServerForAnyone(protocols ...string) *tls.Config {
	return c.server(false, protocols)
}

func (c *Certificates) server(verify bool, protocols []string) *tls.Config {
	now := func() *tls.Config {
		config := c.config.Load().Clone()
		config.NextProtos = protocols
		if !verify {
			config.ClientAuth, config.ClientCAs = tls.NoClientCert, nil
		}
		return config
	}
	config := now()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return now(), nil }
	return config
}

// LoadCA reads the certificates of those who are trusted to sign others.
func LoadCA(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("certificate authority %s: %w", path, errNoCertificate)
	}
	return pool, nil
}

var errNoCertificate = errors.New("expected certificates in PEM, got none")
