package engram

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var passDesc = grpc.StreamDesc{StreamName: "passed through", ClientStreams: true, ServerStreams: true}

// Pass opens a call of any method of the server, for what the sidecar does not serve itself. It ends with ctx and has no
// time-out of its own; the metadata that goes out with ctx goes along. Messages sent and received are *[]byte. The error is
// a status, whose code is grpc's or the server's.
//
// It uses a connection of its own: a call whose messages the server or the client does not read can fill the one it is on.
func (s *Store) Pass(ctx context.Context, method string) (grpc.ClientStream, error) {
	call, err := s.passing.NewStream(ctx, &passDesc, method, grpc.ForceCodecV2(codec{}))
	if err == nil {
		return call, nil
	}
	st := status.Convert(err).Proto()
	if st.GetCode() == int32(codes.Unavailable) {
		st.Message = fmt.Sprintf("engram at %s: %s", s.cfg.Address, st.GetMessage())
	}
	return nil, status.FromProto(st).Err()
}
