package proxy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/engram-sidecar/engram-sidecar/proxy/access"
	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
)

// Quota bounds what one client may write, over all its connections, sessions and calls. The zero value of each field
// bounds nothing. What was not used of a second can be used in the next one, and no later.
type Quota struct {
	// Bytes are those of the messages, a second. Key: client-bytes-per-second.
	Bytes int
	// Messages are observations and other requests that write, a second. Key: client-observations-per-second.
	Messages int
}

// maxQuota bounds both, so that what was saved up in a second fits every platform's int.
const maxQuota = 1 << 30

// quotas are the clients that have written since the start. A client that the sidecar cannot tell from another shares with it:
// whoever shows neither a token nor a certificate and comes over TCP. There are as many as tokens, certificates and users.
type quotas struct {
	limited atomic.Bool // there is a quota: otherwise nobody is looked at

	mu      sync.Mutex
	quota   Quota
	burst   int // bytes of the largest message, which has to fit
	clients map[string]*account
}

// account is what one of them has left.
type account struct {
	bytes, messages *rate.Limiter
}

// set changes the quota of everyone, from now on.
func (q *quotas) set(quota Quota, largest int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.quota, q.burst = quota, largest
	for _, c := range q.clients {
		c.heed(quota, largest)
	}
	q.limited.Store(quota != Quota{})
}

// account finds whoever makes a call.
func (q *quotas) account(ctx context.Context) *account {
	name := clientName(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.clients[name]
	if c == nil {
		c = &account{bytes: rate.NewLimiter(rate.Inf, maxQuota), messages: rate.NewLimiter(rate.Inf, maxQuota)}
		c.heed(q.quota, q.burst)
		if q.clients == nil {
			q.clients = map[string]*account{}
		}
		q.clients[name] = c
	}
	return c
}

// clientName tells clients apart by what they cannot make up: a token, a certificate, the user that the kernel names.
func clientName(ctx context.Context) string {
	if name := holderOf(ctx).Name(); name != "" {
		return "token " + name
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if tls, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(tls.State.PeerCertificates) > 0 {
		return "certificate " + tls.State.PeerCertificates[0].Subject.String()
	}
	addr := p.Addr
	if on, ok := addr.(clientAddr); ok {
		addr = on.Addr
	}
	if user, ok := addr.(access.UserAddr); ok {
		return user.String()
	}
	return ""
}

// heed changes the client's quota. What it has saved up is bounded by a second's worth, or the one message that has to fit.
func (c *account) heed(quota Quota, largest int) {
	for _, l := range []struct {
		*rate.Limiter
		perSecond, least int
	}{{c.bytes, quota.Bytes, largest}, {c.messages, quota.Messages, 1}} {
		limit := rate.Limit(l.perSecond)
		if l.perSecond == 0 {
			limit = rate.Inf
		}
		l.SetBurst(max(l.perSecond, l.least))
		l.SetLimit(limit)
	}
}

// take takes a message of so many bytes out of what the client has, and returns how long to wait before it may be used.
func (c *account) take(bytes int) (wait time.Duration) {
	now := time.Now()
	for _, l := range [...]struct {
		*rate.Limiter
		n int
	}{{c.bytes, bytes}, {c.messages, 1}} {
		if n := min(l.n, l.Burst()); !l.AllowN(now, n) { // which costs no memory
			wait = max(wait, l.ReserveN(now, n).DelayFrom(now))
		}
	}
	return wait
}

// try does the same where nobody waits: what it would have to wait for is not taken.
func (c *account) try(bytes int) (wait time.Duration) {
	now := time.Now()
	b, m := c.bytes.ReserveN(now, min(bytes, c.bytes.Burst())), c.messages.ReserveN(now, 1)
	if wait = max(b.DelayFrom(now), m.DelayFrom(now)); wait > 0 {
		b.CancelAt(now)
		m.CancelAt(now)
	}
	return wait
}

// afford refuses a call that is beyond its client's quota. A call has nobody to hold up but itself: its client is told when
// to come back.
func (s *Server) afford(ctx context.Context, bytes int) error {
	if !s.quotas.limited.Load() {
		return nil
	}
	wait := s.quotas.account(ctx).try(bytes)
	if wait == 0 {
		return nil
	}
	s.observer.Refused(ReasonOverloaded)
	return errExhausted(quotaSpent, retryHint(wait))
}

const quotaSpent = "this client has sent what it may for now (client-bytes-per-second, client-observations-per-second)"

// metered makes a unary method one that is bound to its client's quota.
func (s *Server) metered(serve func(context.Context, Frame) (any, error)) func(context.Context, Frame) (any, error) {
	return func(ctx context.Context, request Frame) (any, error) {
		if err := s.afford(ctx, len(request)); err != nil {
			return nil, err
		}
		return serve(ctx, request)
	}
}

// pace holds the receiver up, once it has read a message, until that is within its client's quota: nothing is read meanwhile,
// and gRPC's flow control holds up the client. It returns false when the stream ends.
func (p *pipe) pace(bytes int) bool {
	if !p.s.quotas.limited.Load() {
		return true
	}
	if p.account == nil {
		p.account = p.s.quotas.account(p.stream.Context())
	}
	wait := p.account.take(bytes)
	if wait == 0 {
		return true
	}
	if p.paced != nil {
		p.paced(wait)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.halt:
		return false
	}
	if p.ends() {
		return false
	}
	if p.paced != nil {
		p.paced(0)
	}
	return true
}

// quotaWatch tells a client that wants to know that it is held up by its quota, and when it is no more: neither more often
// than its manners allow. It is the receiver's.
type quotaWatch struct {
	held bool      // the client was told, and not yet that it is over
	last time.Time // when it was told
}

// sayQuota says that the next message has to wait, or with 0 that it has not.
func (o *observation) sayQuota(wait time.Duration) {
	w := &o.quota
	switch {
	case wait == 0 && w.held:
		w.held = !o.volunteer(o.status(envelope.StateActive, "within the quota again"))
	case wait > 0 && !w.held && time.Since(w.last) >= o.manners.pause():
		w.held = o.volunteer(o.status(envelope.StateBackpressure,
			fmt.Sprintf("slow down: %s; the next message is taken in %v", quotaSpent, retryHint(wait))))
		w.last = time.Now()
	}
}
