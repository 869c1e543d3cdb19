package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/engram-sidecar/engram-sidecar/proxy/access"
)

// secure is how a client command shows who it is, and sees whom it talks to.
type secure struct {
	tokenFile string
	caFile    string
	certFile  string
	keyFile   string
	tls       bool // with the certificates that the system trusts
}

// addSecure gives a command the flags.
func addSecure(flags *pflag.FlagSet, s *secure) {
	flags.StringVar(&s.tokenFile, "token-file", "", "`FILE` with the token to show; 0600")
	flags.BoolVar(&s.tls, "tls", false, "talk over TLS to a sidecar whose certificate the system trusts")
	flags.StringVar(&s.caFile, "ca-file", "", "talk over TLS to one whose certificate is signed by one in `FILE`, PEM")
	flags.StringVar(&s.certFile, "cert-file", "", "`FILE` with the own certificate, PEM; with --key-file")
	flags.StringVar(&s.keyFile, "key-file", "", "`FILE` with its key, PEM, 0600")
}

// token reads the token, "" where there is none to show.
func (s secure) token() (string, error) {
	if s.tokenFile == "" {
		return "", nil
	}
	token, err := access.ReadToken(s.tokenFile)
	if err != nil {
		return "", usage("--token-file: %w", err)
	}
	return token, nil
}

// config is how connections are encrypted, nil for not at all.
func (s secure) config() (*tls.Config, error) {
	if (s.certFile == "") != (s.keyFile == "") {
		return nil, usage("--cert-file and --key-file: expected both or neither")
	}
	if s.caFile == "" && s.certFile == "" && !s.tls {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.caFile != "" {
		pool, err := access.LoadCA(s.caFile)
		if err != nil {
			return nil, usage("--ca-file: %w", err)
		}
		c.RootCAs = pool
	}
	if s.certFile != "" {
		own, err := access.LoadCertificates(s.certFile, s.keyFile, "")
		if err != nil {
			return nil, usage("--cert-file: %w", err)
		}
		c.Certificates = own.Server().Certificates
	}
	return c, nil
}

// errInTheClear refuses to send a token where others could read it.
var errInTheClear = errors.New("a token is not sent unencrypted to another machine: use a loopback address, a unix socket, --ca-file or --tls")

// dialLocal connects to this machine alone. The other end is looked at again once it is known, whatever a name stood for.
func dialLocal(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); network != "unix" && ip != nil && !ip.IsLoopback() {
		return nil, errInTheClear
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return local(conn, address)
}

// local hands a connection on, or closes it where it leads to another machine.
func local(conn net.Conn, address string) (net.Conn, error) {
	if at, ok := conn.RemoteAddr().(*net.TCPAddr); ok && !at.IP.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("%s is at %s: %w", address, at.IP, errInTheClear), conn.Close())
	}
	return conn, nil
}

// dialOptions are those of a gRPC connection.
func (s secure) dialOptions() ([]grpc.DialOption, error) {
	token, err := s.token()
	if err != nil {
		return nil, err
	}
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if config != nil {
		options[0] = grpc.WithTransportCredentials(credentials.NewTLS(config))
	}
	if token == "" {
		return options, nil
	}
	if config == nil {
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			if path, ok := strings.CutPrefix(address, "unix://"); ok {
				return dialLocal(ctx, "unix", path)
			}
			if path, ok := strings.CutPrefix(address, "unix:"); ok {
				return dialLocal(ctx, "unix", path)
			}
			return dialLocal(ctx, "tcp", address)
		}))
	}
	return append(options, grpc.WithPerRPCCredentials(bearer{token, config != nil})), nil
}

// bearer shows a token with every call.
type bearer struct {
	token     string
	encrypted bool
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Where the connection is in the clear it stays on this
// machine, see dialLocal.
func (b bearer) RequireTransportSecurity() bool { return b.encrypted }

// String keeps the token out of whatever prints the value.
func (b bearer) String() string { return "[token]" }

// GoString does so too.
func (b bearer) GoString() string { return "[token]" }
