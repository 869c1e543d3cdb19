package bench

import (
	"context"
	"errors"
	"io"
	"net"

	"google.golang.org/grpc"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// engramLike takes memories as an Engram server does: it decodes each and answers with its id. It keeps none of them, so
// that it is the fastest store there could be behind the sidecar.
type engramLike struct {
	engramv1.UnimplementedEngramServiceServer
}

func (engramLike) serve(l net.Listener) error {
	s := grpc.NewServer()
	engramv1.RegisterEngramServiceServer(s, engramLike{})
	return s.Serve(l)
}

// Remember implements the service.
func (engramLike) Remember(_ context.Context, r *engramv1.RememberRequest) (*engramv1.RememberResponse, error) {
	return &engramv1.RememberResponse{
		MemoryId: r.GetEpisode().GetId(), InitialState: engramv1.ConsolidationState_CONSOLIDATION_STATE_RECENT,
	}, nil
}

// StreamingRemember implements the service.
func (e engramLike) StreamingRemember(s grpc.BidiStreamingServer[engramv1.RememberRequest, engramv1.RememberResponse]) error {
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		response, err := e.Remember(s.Context(), r)
		if err == nil {
			err = s.Send(response)
		}
		if err != nil {
			return err
		}
	}
}
