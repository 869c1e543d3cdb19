package proxy

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"google.golang.org/grpc"
)

// caught, deferred, turns a panic into an error for the client, which it gives to end. It is counted, and logged with its
// stack; the process goes on, for one bad message must not cost all other streams.
func (s *Server) caught(method string, end func(error)) {
	if value := recover(); value != nil { //nolint:revive // caught is itself what is deferred
		s.panics.Add(1)
		s.log.Error("a call failed inside the sidecar", "method", method, "panic", describePanic(value), "stack", string(debug.Stack()))
		end(errInternal(method))
	}
}

func (s *Server) catchUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (res any, err error) {
	defer s.caught(info.FullMethod, func(failure error) { res, err = nil, failure })
	return next(ctx, req)
}

func (s *Server) catchStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer s.caught(info.FullMethod, func(failure error) { err = failure })
	return next(srv, stream)
}

// describePanic says what a panic was about without what it may quote of a client's bytes: the runtime's own words, ours, or
// else the type. The stack says where.
func describePanic(value any) string {
	switch v := value.(type) {
	case runtime.Error:
		return v.Error()
	case string:
		if strings.HasPrefix(v, "internal error: ") {
			return v
		}
	}
	return fmt.Sprintf("%T", value)
}
