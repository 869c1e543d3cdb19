package access

import (
	"fmt"
	"net"
	"slices"

	"golang.org/x/sys/unix"
)

// OnlyUsers makes a listener of a Unix socket that takes connections of processes of these users alone. Others are closed
// before a byte of them is read, and told to refused, which may be nil.
func OnlyUsers(l net.Listener, users []int, refused func(user int)) net.Listener {
	return &peerListener{Listener: l, users: slices.Clone(users), refused: refused}
}

type peerListener struct {
	net.Listener
	users   []int
	refused func(int)
}

// Accept implements net.Listener.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		user, err := peerOf(conn)
		if err == nil && slices.Contains(l.users, user) {
			return &userConn{conn, UserAddr(user)}, nil
		}
		_ = conn.Close() // nothing was said on it
		if err != nil {
			user = -1
		}
		if l.refused != nil {
			l.refused(user)
		}
	}
}

// userConn is a connection whose other end is a user, not an address: sockets of clients have none.
type userConn struct {
	net.Conn
	user UserAddr
}

// RemoteAddr implements net.Conn.
func (c *userConn) RemoteAddr() net.Addr { return c.user }

// UserAddr stands for a user of this machine at the other end of a Unix socket, as the kernel names them.
type UserAddr int

// Network implements net.Addr.
func (UserAddr) Network() string { return "unix" }

// String implements net.Addr.
func (u UserAddr) String() string { return fmt.Sprintf("user %d", int(u)) }

// peerOf asks the kernel which user connected.
func peerOf(conn net.Conn) (int, error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("expected a Unix socket, got %T", conn)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	return int(cred.Uid), nil
}
