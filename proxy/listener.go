package proxy

import (
	"net"
	"sync"
	"time"
)

// limit makes a listener that closes connections above the limit at once, so that they do not take a descriptor for long
// nor wait unseen. The limit counts the connections of all listeners.
func (s *Server) limit(l net.Listener) net.Listener { return &limitedListener{Listener: l, s: s} }

type limitedListener struct {
	net.Listener
	s    *Server
	said time.Time // when a refusal was last logged; used by Accept alone
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if n := l.s.connections.Add(1); n <= int64(l.s.bounds().MaxConnections) {
			return &countedConn{Conn: conn, s: l.s, closed: make(chan struct{})}, nil
		}
		l.s.connections.Add(-1)
		if time.Since(l.said) > time.Second {
			l.said = time.Now()
			l.s.log.Warn("a connection was refused", "max-connections", l.s.bounds().MaxConnections)
		}
		_ = conn.Close() // it was never used: there is nothing to lose
	}
}

type countedConn struct {
	net.Conn
	s      *Server
	once   sync.Once
	closed chan struct{} // by Close
	debt   debt          // of calls that its client has taken back
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.s.connections.Add(-1)
		close(c.closed)
	})
	return c.Conn.Close()
}
