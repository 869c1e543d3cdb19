package harness

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// What the fake Engram server serves of its own, beside what the sidecar forwards to: enough to see a call come through.

// Forget implements the service: one memory for each id, and headers and trailers that tell what came with the call.
func (f *Engram) Forget(ctx context.Context, request *engramv1.ForgetRequest) (*engramv1.ForgetResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	f.mu.Lock()
	f.met = append(f.met, md)
	f.mu.Unlock()
	if err := grpc.SendHeader(ctx, metadata.Pairs("engram-node", "fake")); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("engram-trace", fmt.Sprint(md.Get("trace")))); err != nil {
		return nil, err
	}
	if request.GetMemoryId() == "" {
		return nil, status.Error(codes.InvalidArgument, "target: expected a memory_id")
	}
	return &engramv1.ForgetResponse{MemoriesAffected: 1}, nil
}

// Dream implements the service: as many insights as cycles were asked for, and without a number one after the other until
// the client has enough.
func (f *Engram) Dream(request *engramv1.DreamRequest, stream grpc.ServerStreamingServer[engramv1.DreamResponse]) error {
	for n := int32(1); request.GetReplayCycles() == 0 || n <= request.GetReplayCycles(); n++ {
		if err := stream.Send(&engramv1.DreamResponse{Content: &engramv1.DreamResponse_Insight{
			Insight: &engramv1.Insight{Description: fmt.Sprintf("insight %d", n)},
		}}); err != nil {
			return err
		}
	}
	return nil
}

// Met returns the metadata of the calls of Forget, in order.
func (f *Engram) Met() []metadata.MD {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.met)
}
