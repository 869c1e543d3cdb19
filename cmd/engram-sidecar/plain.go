package main

import (
	"context"
	"errors"
	"net"
	"net/http"
)

// errNoHTTP is what an answer is that does not begin as HTTP/1 does.
var errNoHTTP = errors.New("no HTTP")

// plainConn looks at the first byte of what comes back. A gRPC server greets before it is asked anything; what net/http says
// of that depends on whether the request was written by then, and part of it goes to the log.
type plainConn struct {
	net.Conn
	begun bool
}

// Read is net.Conn's, and fails with errNoHTTP where the other end speaks something else.
func (c *plainConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.begun || n == 0 {
		return n, err
	}
	if p[0] != 'H' { // HTTP/1.1 200 OK
		return 0, errNoHTTP
	}
	c.begun = true
	return n, err
}

// plain makes connections that were dialled so look at what comes back. Its transport is for HTTP in the clear alone.
func plain(transport *http.Transport, dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &plainConn{Conn: conn}, nil
	}
}
