package proxy

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// A call that is begun and taken back at once costs its client thirty bytes, and the sidecar three goroutines and what they
// wait for (CVE-2023-44487). Who takes back calls faster than max-cancelled-calls is therefore read no faster than that: the
// connection stands still for a while, and so does whoever writes to it. It is not closed, for on a new one the same client
// would begin without a debt. Calls that end by themselves, however many, are no reason, and neither is a lost connection.

const (
	// brakeCredit is how much of its rate a connection may use at once: about all the calls that it may have open.
	brakeCredit = 2 * time.Second
	// brakeSharedCredit is the same for all of them together.
	brakeSharedCredit = time.Second
	// brakeShare is how many connections at their limit the sidecar takes at once; beyond it they share.
	brakeShare = 4
	// brakeFew is what a connection may owe without having part in what all of them owe: 16 calls by default.
	brakeFew = brakeCredit / 64
	// brakeLongest is the longest that a connection stands still at a time: far below what keepalive takes for its end.
	brakeLongest = 5 * time.Second
	// brakeSip is how much is read at a time of a connection that has to wait: few calls, so that they do not come in a rush.
	brakeSip = 512
)

// debt is when the calls that were taken back are forgiven, each after its share of a second.
type debt struct{ due atomic.Int64 } // nanoseconds since the server was made

func (d *debt) add(now, each time.Duration) {
	for {
		old := d.due.Load()
		if d.due.CompareAndSwap(old, max(old, int64(now))+int64(each)) {
			return
		}
	}
}

// left is how long it takes until all is forgiven.
func (d *debt) left(now time.Duration) time.Duration { return time.Duration(d.due.Load()) - now }

// clientAddr is the address of a client's connection, by which a call finds the connection that it came on.
type clientAddr struct {
	net.Addr
	conn *countedConn
}

// RemoteAddr implements net.Conn.
func (c *countedConn) RemoteAddr() net.Addr { return clientAddr{c.Conn.RemoteAddr(), c} }

// Read implements net.Conn.
func (c *countedConn) Read(p []byte) (int, error) {
	if c.debt.due.Load() > 0 { // it has taken calls back, ever
		if wait := c.toWait(); wait > 0 {
			c.stand(wait)
			p = p[:min(len(p), brakeSip)]
		}
	}
	return c.Conn.Read(p)
}

// toWait is how long this connection is not to be read.
func (c *countedConn) toWait() time.Duration {
	now := time.Since(c.s.began)
	own := c.debt.left(now)
	wait := own - brakeCredit
	if own > brakeFew {
		wait = max(wait, c.s.debt.left(now)-brakeSharedCredit)
	}
	return min(wait, brakeLongest)
}

// stand waits. A connection that is closed meanwhile says so when it is read.
func (c *countedConn) stand(wait time.Duration) {
	c.s.slowed.Add(1)
	if last := c.s.slowedSaid.Load(); int64(time.Since(c.s.began))-last > int64(time.Second) &&
		c.s.slowedSaid.CompareAndSwap(last, int64(time.Since(c.s.began))) {
		c.s.log.Warn("a connection is slowed: its client cancels calls faster than it may", "from", c.Conn.RemoteAddr().String(),
			"max-cancelled-calls", c.s.cfg.MaxCancelled)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closed:
	case <-c.s.stopping:
	}
}

// ended is told, by the goroutine of each call, that it is about to end; it counts those that were taken back.
func (s *Server) ended(ctx context.Context) {
	if !errors.Is(ctx.Err(), context.Canceled) { // also nil, of those that end by themselves
		return
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return
	}
	addr, ok := p.Addr.(clientAddr)
	if !ok || isClosed(addr.conn.closed) { // all calls of a connection end with it
		return
	}
	s.cancelled.Add(1)
	now, each := time.Since(s.began), time.Second/time.Duration(s.cfg.MaxCancelled)
	addr.conn.debt.add(now, each)
	s.debt.add(now, each/brakeShare)
}

func (s *Server) countStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	defer s.ended(stream.Context())
	return next(srv, stream)
}

// counting makes the unary calls of a service known to ended. An interceptor would not hear of those that were taken back
// before their request was read.
func (s *Server) counting(desc *grpc.ServiceDesc) *grpc.ServiceDesc {
	counted := *desc
	counted.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, m := range desc.Methods {
		counted.Methods[i] = grpc.MethodDesc{MethodName: m.MethodName, Handler: func(
			srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor,
		) (any, error) {
			defer s.ended(ctx)
			return m.Handler(srv, ctx, decode, intercept)
		}}
	}
	return &counted
}

// barrenFew is how many messages in a row may bring nothing durable before a stream has to wait for its turn, and how many it
// may send then until the next. More in a row are what a client has in flight when one observation is refused.
const barrenFew = 16

// barrenCredit is how much of their rate all streams may use at once: 5,000 messages by default, several times what one
// client can have in flight.
const barrenCredit = time.Second / 2

// pace holds a stream up whose messages bring nothing durable: each stream waits for its turn, so that few of them are at
// work at a time, however many send as fast as they can. Who sends what is taken does not wait for them.
func (s *Server) pace(halt <-chan struct{}) {
	now := time.Since(s.began)
	s.barren.add(now, barrenFew*time.Second/time.Duration(s.cfg.MaxBarren))
	wait := s.barren.left(now) - barrenCredit
	if wait <= 0 {
		return
	}
	s.paced.Add(1)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-halt:
	case <-s.stopping:
	}
}
