package engram

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // taken from a server that sends it
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// maxAnswer is the longest answer taken, in bytes: a recall of some thousand memories with long texts.
const maxAnswer = 64 << 20

// pingEvery is how often a silent connection is asked whether it is still there. A gRPC server takes more than one ping in five
// minutes for abuse, unless it was told otherwise, and ends the connection. Data under way over a dead connection does not
// wait for this: grpc gives the kernel the same time-out for what is not acknowledged.
const pingEvery = 6 * time.Minute

// maxBackoff is the longest pause before a server that was away is tried again. gRPC adds a jitter of a fifth to what it is
// given.
const maxBackoff = 5 * time.Second

// writeBuffer is how many bytes go into one call of the kernel: forty observations.
const writeBuffer = 128 << 10

// roundRobin spreads calls over all servers that answer. A stream stays where it was opened.
const roundRobin = `{"loadBalancingConfig":[{"round_robin":{}}]}`

// options are how each connection is made, but for where to.
func (c Config) options() ([]grpc.DialOption, error) {
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDisableServiceConfig(), // nobody's DNS shall say how to talk to the server
		grpc.WithDefaultServiceConfig(roundRobin),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxBackoff * 5 / 6},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithWriteBufferSize(writeBuffer),
	}
	if !c.Proxy {
		options = append(options, grpc.WithNoProxy()) // the environment's proxies are not meant for it
	}
	if c.TokenFile != "" {
		token := tokenFile{c.TokenFile}
		if _, err := token.read(); err != nil {
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(token))
	}
	return options, nil
}

// dial makes a connection, or one to each server, when it is first needed. The resolvers are named, whatever else is linked
// into the program: DNS for one name, and for several addresses none but the dialer's own.
func (c Config) dial(extra []grpc.DialOption) (*grpc.ClientConn, error) {
	options, err := c.options()
	if err != nil {
		return nil, err
	}
	target := "dns:///" + c.Address
	if addresses := c.addresses(); len(addresses) > 1 {
		list := manual.NewBuilderWithScheme("engram")
		list.InitialState(resolver.State{Endpoints: endpoints(addresses)})
		options = append(options, grpc.WithResolvers(list))
		target = "engram:///" + addresses[0] // which is what the server is told of whom one speaks to
	}
	conn, err := grpc.NewClient(target, append(options, extra...)...)
	if err != nil {
		return nil, fmt.Errorf("store: %s%s: %w", c.scheme(), c.Address, err)
	}
	return conn, nil
}

// endpoints are the servers, each with the name that its certificate is to be for.
func endpoints(addresses []string) []resolver.Endpoint {
	list := make([]resolver.Endpoint, len(addresses))
	for i, address := range addresses {
		host, _, _ := net.SplitHostPort(address)
		list[i].Addresses = []resolver.Address{{Addr: address, ServerName: host}}
	}
	return list
}

// transport is how a connection is encrypted.
func (c Config) transport() (credentials.TransportCredentials, error) {
	if !c.TLS {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("store-ca-file: %w", err)
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("store-ca-file: %s: expected certificates in PEM, found none", c.CAFile)
		}
	}
	if c.CertFile != "" {
		load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			certificate, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("store-cert-file, store-key-file: %w", err)
			}
			return &certificate, nil
		}
		if _, err := load(nil); err != nil {
			return nil, err
		}
		config.GetClientCertificate = load
	}
	return credentials.NewTLS(config), nil
}

// tokenFile shows the server who we are: the upstream's own credential, which no client brings and none gets to see.
type tokenFile struct{ path string }

var errToken = errors.New("expected one line of printable ASCII without blanks")

// read returns the token that is in the file now.
func (t tokenFile) read() (string, error) {
	text, err := os.ReadFile(t.path)
	if err != nil {
		return "", fmt.Errorf("store-token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("store-token-file: %s: %w", t.path, errToken)
	}
	return token, nil
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t tokenFile) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := t.read()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Validate has seen to it already.
func (tokenFile) RequireTransportSecurity() bool { return false }
