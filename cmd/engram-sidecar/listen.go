package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/proxy/access"
)

// listen opens the listener that a setting asks for. A port in use is a failure that may pass; an address that this machine
// hasn't got is configuration. Of a Unix socket, users may connect to it: none means the own user and root.
func listen(key, address string, users []int, log hclog.Logger) (net.Listener, error) {
	network, at := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		network, at = "unix", path
		if err := prepareSocket(path); err != nil {
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
	if network == "tcp" {
		return l, nil
	}
	mode := os.FileMode(0o600)
	if len(users) > 0 {
		mode = 0o666 // the kernel lets them all knock, and says who it is
	} else {
		users = []int{os.Geteuid(), 0}
	}
	if err := os.Chmod(at, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: setting the mode of %s: %w", key, at, err), l.Close())
	}
	return access.OnlyUsers(l, users, func(user int) {
		log.Warn("a connection was refused: its user may not use the socket", "user", user, "listen-users", users)
	}), nil
}

// prepareSocket makes the socket's directory where that is missing, refuses one where others could put a socket in our place,
// and removes the socket that a killed process left behind.
func prepareSocket(path string) error {
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil // net.Listen says what is wrong with the path
	}
	info, err := os.Stat(dir)
	if err == nil && info.Mode().Perm()&0o022 != 0 && info.Mode()&os.ModeSticky == 0 {
		return fmt.Errorf("others may put a socket in our place: %s has mode %#o, expected 0700: chmod go-w it, or choose another path",
			dir, info.Mode().Perm())
	}
	return clearSocket(path)
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
