package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
)

// Where the client commands look for a sidecar: where serve listens by default.
var (
	defaultAddress = config.Default(func(string) string { return "" }).Listen
	defaultAdmin   = "http://" + config.Default(func(string) string { return "" }).AdminListen
)

const addressHelp = "where the sidecar serves gRPC: host:port, or unix:///path"

// maxAnswer is the longest message a client command takes.
const maxAnswer = 64 << 20

// dial makes a connection to the sidecar at address. It connects at the first call, and again whenever it was lost.
func dial(address string, s secure) (*grpc.ClientConn, error) {
	target, err := targetOf(address)
	if err != nil {
		return nil, err
	}
	options, err := s.dialOptions()
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(target, append(options,
		grpc.WithNoProxy(), // a proxy of the environment has no business between two ends of one machine
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}))...)
	if err != nil {
		return nil, usage("--addr: %q: %w", address, err)
	}
	return conn, nil
}

// targetOf turns an address into what gRPC understands, without its name resolution.
func targetOf(address string) (string, error) {
	path, isSocket := strings.CutPrefix(address, "unix://")
	if isSocket && filepath.IsAbs(path) {
		return address, nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil || isSocket {
		return "", usage("--addr: expected host:port or unix:///path, got %q", address)
	}
	return "passthrough:///" + address, nil
}

// explain turns what a call ended with into something for a person. Errors that are not the call's stay as they are.
func explain(err error, address string) error {
	var ended interface {
		error
		GRPCStatus() *status.Status
	}
	if !errors.As(err, &ended) {
		return err
	}
	s := ended.GRPCStatus()
	if s.Code() == codes.Unavailable && strings.Contains(s.Message(), errInTheClear.Error()) {
		return usage("--addr: %s: %w", address, errInTheClear)
	}
	if s.Code() == codes.Unavailable && strings.Contains(s.Message(), "connection error") {
		why := cause(s.Message())
		if strings.Contains(s.Message(), "HTTP/1.1 header") {
			return fmt.Errorf("what answers at %s speaks HTTP and not gRPC: --addr wants the address that serve listens on, not the admin address", address)
		}
		if why == "EOF" || strings.Contains(s.Message(), "tls:") {
			return fmt.Errorf("no sidecar can be talked to at %s (%s): where it wants TLS give --ca-file, or --tls, and --cert-file where it wants that",
				address, clip(why, 200))
		}
		return fmt.Errorf("no sidecar answers at %s (%s): start one with `engram-sidecar serve`, or name another with --addr", address, why)
	}
	said := strings.Replace(err.Error(), ended.Error(), s.Message(), 1) // with the context it was wrapped in, if any
	return fmt.Errorf("the sidecar at %s refused: %s (%s)", address, said, s.Code())
}

// cause is the end of a chain of reasons, the one that names the system's error.
func cause(message string) string {
	message = strings.TrimSuffix(message, `"`)
	if i := strings.LastIndex(message, ": "); i >= 0 {
		return message[i+2:]
	}
	return message
}
