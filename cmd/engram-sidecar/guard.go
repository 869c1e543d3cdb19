package main

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/proxy/access"
)

// guard is what protects the two addresses. Each part is nil where it is not configured.
type guard struct {
	tokens       *access.Ring
	adminTokens  *access.Ring
	certificates *access.Certificates
}

// newGuard reads the files that the settings name.
func newGuard(cfg config.Config) (g guard, err error) {
	if cfg.TokenFile != "" {
		if g.tokens, err = access.LoadRing(cfg.TokenFile); err != nil {
			return g, badConfig(fmt.Errorf("token-file: %w", err))
		}
	}
	g.adminTokens = g.tokens
	if cfg.AdminTokenFile != "" {
		if g.adminTokens, err = access.LoadRing(cfg.AdminTokenFile); err != nil {
			return g, badConfig(fmt.Errorf("admin-token-file: %w", err))
		}
	}
	if cfg.TLSCert != "" {
		if g.certificates, err = access.LoadCertificates(cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA); err != nil {
			return g, badConfig(fmt.Errorf("tls-cert, tls-key, tls-client-ca: %w", err))
		}
	}
	return g, nil
}

// reload reads the files again. What cannot be read stays as it was.
func (g guard) reload() error {
	var errs []error
	if g.tokens != nil {
		errs = append(errs, g.tokens.Reload())
	}
	if g.adminTokens != nil && g.adminTokens != g.tokens {
		errs = append(errs, g.adminTokens.Reload())
	}
	if g.certificates != nil {
		errs = append(errs, g.certificates.Reload())
	}
	return errors.Join(errs...)
}

// grpcTLS is how the gRPC address is encrypted, nil for not at all.
func (g guard) grpcTLS() *tls.Config {
	if g.certificates == nil {
		return nil
	}
	return g.certificates.Server()
}

// mayAdminister says whether a token opens the admin address.
func (g guard) mayAdminister(token string) bool {
	holder, ok := g.adminTokens.Find(token)
	return ok && holder.Admin()
}
