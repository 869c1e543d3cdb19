package bench

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// rawCodec hands messages over as they are. On the wire it is protobuf's codec.
type rawCodec struct{}

// request is a message that is ready to be sent.
type request struct{ parts mem.BufferSlice }

// message is one that was received. Who asked for it frees it.
type message struct{ parts mem.BufferSlice }

// Name implements encoding.CodecV2.
func (rawCodec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *request:
		return v.parts, nil
	case mem.SliceBuffer:
		return mem.BufferSlice{v}, nil
	default:
		return nil, fmt.Errorf("bench: cannot send a %T", v)
	}
}

// Unmarshal implements encoding.CodecV2.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *message:
		data.Ref()
		v.parts = data
	case *answer:
		return v.take(data)
	default:
		return fmt.Errorf("bench: cannot receive into a %T", v)
	}
	return nil
}

// answer is what the client looks at of an answer: whether it is an ack, and of each thousandth whether it is the right one.
type answer struct {
	kind     Protocol
	whole    bool   // asks for sequence, too
	sequence uint64 // with whole
}

// take reads an answer. Anything but an ack is an error.
func (a *answer) take(data mem.BufferSlice) error {
	if a.kind == ProtocolRemember {
		return nil
	}
	if !a.whole && len(data) > 0 && data[0].Len() > 0 && data[0].ReadOnlyData()[0] == tagAck {
		return nil
	}
	var r engramv1.ObservationResponse
	if err := proto.Unmarshal(join(data), &r); err != nil {
		return err
	}
	a.sequence = r.GetSequenceNumber()
	if r.GetAck().GetStatus() != engramv1.ObservationAck_STATUS_ACCEPTED && r.GetInitAck() == nil {
		return fmt.Errorf("bench: expected an ack, got %v", &r)
	}
	return nil
}

// join is the whole of a message in one piece.
func join(parts mem.BufferSlice) []byte {
	b := make([]byte, parts.Len())
	parts.CopyTo(b)
	return b
}
