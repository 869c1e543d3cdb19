package proxy

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto" // registers the codec that frameCodec falls back to
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Frame is one message in its wire bytes. A handler that receives into a *Frame gets a copy of its own, made once, which it
// may keep and write to; one that sends a *Frame must not change its bytes afterwards.
type Frame []byte

// frameSlack is how much room a received frame has behind it, so that a made id can be appended to an episode in place.
const frameSlack = 64

// outgoing is a message in its wire bytes that lies in a buffer with others. Sending it gives the buffer's reference away.
type outgoing struct{ mem.Buffer }

// frameCodec passes frames through as they are, and leaves every other message to protobuf.
type frameCodec struct{ encoding.CodecV2 }

func newFrameCodec() frameCodec { return frameCodec{encoding.GetCodecV2(protocodec.Name)} }

// Marshal implements encoding.CodecV2.
func (c frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *outgoing:
		return mem.BufferSlice{m.Buffer}, nil
	case *Frame:
		return mem.BufferSlice{mem.SliceBuffer(*m)}, nil
	default:
		return c.CodecV2.Marshal(v)
	}
}

// Unmarshal implements encoding.CodecV2.
func (c frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*Frame); ok {
		f.own(data)
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// receive gets the next message of a stream, decoded. One that cannot be is the client's fault, which gRPC's own decoding
// would call INTERNAL.
func (s *Server) receive(stream grpc.ServerStream, m proto.Message) error {
	var frame Frame
	if err := stream.RecvMsg(&frame); err != nil {
		return err
	}
	if err := proto.Unmarshal(frame, m); err != nil {
		return s.invalid(fmt.Errorf("expected a %s: %w", m.ProtoReflect().Descriptor().Name(), err))
	}
	return nil
}
