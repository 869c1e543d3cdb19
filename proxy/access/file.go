package access

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSecret bounds a file of secrets.
const maxSecret = 1 << 20

// ErrExposed refuses a file of secrets that others could read or change.
var ErrExposed = errors.New("the file is open to others")

// ReadSecret reads a file that nobody but its owner, who is this process's user or root, may read or write. Links are
// followed, for that is how secrets are mounted into containers; what counts is the file that was opened. The error wraps
// ErrExposed, or is the file system's.
func ReadSecret(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) // a pipe must not make us wait
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if err := private(path, info); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(text) > maxSecret {
		err = fmt.Errorf("%s: expected at most %d bytes", path, maxSecret)
	}
	return text, err
}

// private judges by mode and owner. Root's file may be read by a group: that is how Kubernetes mounts a secret for a process
// that is not root.
func private(path string, info os.FileInfo) error {
	owner := uint32(os.Geteuid()) //nolint:gosec // a user id
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = st.Uid
	}
	if owner != 0 && int(owner) != os.Geteuid() {
		return fmt.Errorf("%w: %s belongs to user %d, expected %d or root: chown it", ErrExposed, path, owner, os.Geteuid())
	}
	forbidden := os.FileMode(0o077)
	if owner == 0 && os.Geteuid() != 0 {
		forbidden = 0o037
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return fmt.Errorf("%w: %s has mode %#o, expected 0600: chmod 600 it", ErrExposed, path, mode)
	}
	return nil
}
