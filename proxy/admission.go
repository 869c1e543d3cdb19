package proxy

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/engram-sidecar/engram-sidecar/proxy/access"
)

// admission is who gets in: the encryption of connections, and the one place where a token is asked for. That place is
// gRPC's tap, which sees each call before it exists, whatever its path is: methods that are served, passed on, unknown or
// malformed, health and reflection.
func (s *Server) admission() []grpc.ServerOption {
	var options []grpc.ServerOption
	if s.deps.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.deps.TLS)))
	}
	if s.deps.Tokens != nil {
		options = append(options, grpc.InTapHandle(s.admit))
	}
	return options
}

// admit lets a call in whose token is one, and notes whose it is.
func (s *Server) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	values := info.Header.Get("authorization")
	if len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if holder, ok := s.deps.Tokens.Find(token); ok && strings.EqualFold(scheme, "Bearer") {
			return context.WithValue(ctx, holderKey{}, holder), nil
		}
	}
	s.deny(ctx, info.FullMethodName, "no valid token")
	return ctx, status.Error(codes.Unauthenticated, "this sidecar wants a token: send the metadata authorization: Bearer TOKEN, "+
		"once, with one of its token file")
}

type holderKey struct{}

// holderOf is who makes the call; the zero Holder, who may do nothing, where that is not known.
func holderOf(ctx context.Context) access.Holder {
	holder, _ := ctx.Value(holderKey{}).(access.Holder)
	return holder
}

// deny counts a refusal, and logs it: not more than one a second, for whoever guesses tokens must not fill a disk.
func (s *Server) deny(ctx context.Context, method, why string) {
	s.observer.Refused(ReasonDenied)
	now := time.Now().Unix()
	if last := s.denied.Load(); last == now || !s.denied.CompareAndSwap(last, now) {
		return
	}
	from := "unknown"
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		from = p.Addr.String()
	}
	s.log.Warn("a call was refused", "why", why, "method", clipped(method), "from", from, "token", holderOf(ctx).Name())
}

// clipped bounds what a client can put into the log.
func clipped(text string) string { return text[:min(len(text), 128)] }
