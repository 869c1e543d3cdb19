package proxy

import (
	"context"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/access"
	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
)

// need is what a method needs in the memory space that each of its requests names.
type need struct {
	right access.Right
	own   bool // served here: a request that names no space means the default one
}

// needs lists the methods that a token with rights in single spaces may call: those whose requests name the space they work
// in, by memory_space_id, and reach no other. What is not listed needs the right to everything. Of the streams of
// observations the sessions know the space; see mayIn.
var needs = map[string]need{
	"Remember":          {access.Write, true},
	"Experience":        {access.Write, true},
	"StreamingRemember": {access.Write, true},
	"Recall":            {access.Read, true},
	"StreamingRecall":   {access.Read, true},
	"RecallStream":      {access.Read, true},

	"Forget":      {access.Write, false},
	"Recognize":   {access.Read, false},
	"Reminisce":   {access.Read, false},
	"Complete":    {access.Read, false},
	"Associate":   {access.Read | access.Write, false},
	"Consolidate": {access.Read | access.Write, false},
	"Dream":       {access.Read | access.Write, false},
}

// bySession are the methods that ask mayIn for themselves, once they know the session.
var bySession = map[string]bool{"ObserveStream": true, "MemoryStream": true, "MemoryFlow": true}

// openServices are those that tell nothing of what is stored: any token will do.
var openServices = []string{
	grpc_health_v1.Health_ServiceDesc.ServiceName,
	grpc_reflection_v1.ServerReflection_ServiceDesc.ServiceName,
	grpc_reflection_v1alpha.ServerReflection_ServiceDesc.ServiceName,
}

// mayIn says whether the caller may do this in a memory space. The error ends the call.
func (s *Server) mayIn(ctx context.Context, method, space string, right access.Right) error {
	if s.deps.Tokens == nil {
		return nil
	}
	holder := holderOf(ctx)
	switch {
	case !holder.Valid():
		s.deny(ctx, method, "its token was taken away")
		return status.Error(codes.Unauthenticated, "the token is valid no more: get another, and call again; a session can be resumed with it")
	case !holder.May(space, right):
		s.deny(ctx, method, "its token lacks the right "+right.String())
		return status.Errorf(codes.PermissionDenied, "the token %s has no right %v in memory space %q", holder.Name(), right, clipped(space))
	}
	return nil
}

// mayWrite asks for the right to write in a memory space.
func (p *pipe) mayWrite(space string) error { return p.may(space, access.Write) }

func (p *pipe) may(space string, right access.Right) error {
	if p.s.deps.Tokens == nil {
		return nil
	}
	return p.s.mayIn(p.stream.Context(), p.method, space, right)
}

// mayCall says whether the caller may call a method at all, and what has to be asked of each request; nil for nothing more.
func (s *Server) mayCall(ctx context.Context, path string) (*need, error) {
	holder := holderOf(ctx)
	if !holder.Valid() {
		return nil, s.mayIn(ctx, path, "", access.Read)
	}
	service, method, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	for _, open := range openServices {
		if service == open {
			return nil, nil
		}
	}
	if service == pb.EngramService_ServiceDesc.ServiceName {
		if n, ok := needs[method]; ok {
			return &n, nil
		}
		if bySession[method] {
			return nil, nil
		}
	}
	if !holder.Everywhere() {
		s.deny(ctx, path, "the method is not bound to one space")
		return nil, status.Errorf(codes.PermissionDenied, "the token %s has rights in single memory spaces, and of %s it cannot be "+
			"told in which it works: it needs the right *:rw", holder.Name(), clipped(path))
	}
	return nil, nil
}

// mayAsk judges one request of a method.
func (s *Server) mayAsk(ctx context.Context, path string, n *need, request any) error {
	if n == nil {
		if holder := holderOf(ctx); holder.Valid() {
			return nil
		}
		return s.mayIn(ctx, path, "", access.Read)
	}
	var space []byte
	switch m := request.(type) {
	case *Frame:
		var err error
		if space, err = envelope.SpaceOf(*m); err != nil {
			return s.invalid(err)
		}
	case interface{ GetMemorySpaceId() string }:
		space = []byte(m.GetMemorySpaceId())
	default:
		return status.Errorf(codes.PermissionDenied, "%s: the memory space of the request cannot be told", clipped(path))
	}
	if len(space) == 0 && n.own {
		space = []byte(s.cfg.DefaultSpace)
	}
	if len(space) == 0 && !holderOf(ctx).Everywhere() {
		return status.Errorf(codes.PermissionDenied, "%s: expected memory_space_id, which the token has rights in, got none", clipped(path))
	}
	return s.mayIn(ctx, path, string(space), n.right)
}

func (s *Server) authorizeUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if s.deps.Tokens != nil {
		n, err := s.mayCall(ctx, info.FullMethod)
		if err == nil {
			err = s.mayAsk(ctx, info.FullMethod, n, request)
		}
		if err != nil {
			return nil, err
		}
	}
	return next(ctx, request)
}

func (s *Server) authorizeStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if s.deps.Tokens != nil {
		n, err := s.mayCall(stream.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		a := &authorizedStream{ServerStream: stream, s: s, path: info.FullMethod, need: n}
		err = next(srv, a)
		if denied := a.denied.Load(); denied != nil { // whatever the handler makes of the end of its requests
			return *denied
		}
		return err
	}
	return next(srv, stream)
}

// authorizedStream lets through what the caller may ask for, request by request: a token may be taken away meanwhile.
type authorizedStream struct {
	grpc.ServerStream
	s    *Server
	path string
	need *need

	denied atomic.Pointer[error]
}

// RecvMsg implements grpc.ServerStream.
func (a *authorizedStream) RecvMsg(m any) error {
	if err := a.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if err := a.s.mayAsk(a.Context(), a.path, a.need, m); err != nil {
		a.denied.Store(&err)
		return err
	}
	return nil
}
