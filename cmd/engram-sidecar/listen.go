package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// listen opens the listener that a setting asks for. A port in use is a failure that may pass; an address that this machine
// hasn't got is configuration.
func listen(key, address string) (net.Listener, error) {
	network, at := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		network, at = "unix", path
		if err := clearSocket(path); err != nil {
			return nil, &coded{exitFailure, fmt.Errorf("%s: %w", key, err)}
		}
	}
	l, err := net.Listen(network, at)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is in use by another process: stop that one, or choose another address with --%s", key, address, key)
	case err != nil:
		return nil, badConfig(fmt.Errorf("%s: cannot listen on %s: %w: choose another address with --%s", key, address, err, key))
	}
	if network == "unix" {
		if err := os.Chmod(at, 0o600); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: making %s private: %w", key, at, err), l.Close())
		}
	}
	return l, nil
}

// clearSocket removes the socket that a killed process left behind. One that answers, and a file that is none, stay.
func clearSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s is there and is no socket: remove it, or choose another path", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close() // it was only to see who is there
		return fmt.Errorf("unix://%s is in use by another process: stop that one, or choose another path", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%s does not say whether somebody uses it: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing what a killed process left: %w", err)
	}
	return nil
}

// addressOf says where a listener is, as one would write it in a setting.
func addressOf(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix://" + l.Addr().String()
	}
	return l.Addr().String()
}
