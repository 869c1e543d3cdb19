package proxy

import (
	"context"

	"google.golang.org/grpc"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// service describes what of engram.v1.EngramService is served here. Requests come as frames, undecoded: what is journaled
// has to be the client's own bytes. Whatever is not listed goes to unserved.
func (s *Server) service() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: pb.EngramService_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("Remember", s.metered(s.remember)),
			unary("Experience", s.metered(s.experience)),
			unary("Recall", s.recall),
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "ObserveStream", Handler: s.observe, ServerStreams: true, ClientStreams: true},
			{StreamName: "MemoryStream", Handler: s.memoryStream, ServerStreams: true, ClientStreams: true},
			{StreamName: "MemoryFlow", Handler: s.memoryFlow, ServerStreams: true, ClientStreams: true},
			{StreamName: "StreamingRemember", Handler: s.streamingRemember, ServerStreams: true, ClientStreams: true},
			{StreamName: "StreamingRecall", Handler: s.streamingRecall, ServerStreams: true, ClientStreams: true},
			{StreamName: "RecallStream", Handler: s.recallStream, ServerStreams: true},
		},
		Metadata: pb.EngramService_ServiceDesc.Metadata,
	}
}

// unary makes a method of a function that gets the request's bytes, which it may keep.
func unary(name string, serve func(context.Context, Frame) (any, error)) grpc.MethodDesc {
	full := "/" + pb.EngramService_ServiceDesc.ServiceName + "/" + name
	handler := func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		frame := new(Frame)
		if err := decode(frame); err != nil {
			return nil, err
		}
		if intercept == nil {
			return serve(ctx, *frame)
		}
		return intercept(ctx, frame, &grpc.UnaryServerInfo{Server: srv, FullMethod: full}, func(ctx context.Context, _ any) (any, error) {
			return serve(ctx, *frame)
		})
	}
	return grpc.MethodDesc{MethodName: name, Handler: handler}
}
