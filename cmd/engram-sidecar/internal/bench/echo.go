package bench

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// echo answers each message of a stream with an ack of the usual size, and looks at none of them. With a file it answers
// when the message's bytes are appended and synced there, many at a time.
type echo struct {
	ack  mem.SliceBuffer
	file *groupFile // nil: nothing is made durable
}

func newEcho(file *groupFile) (*echo, error) {
	const session = "01234567-89ab-cdef-0123-456789abcdef"
	now := timestamppb.New(time.Now())
	ack, err := proto.Marshal(&engramv1.ObservationResponse{
		Result: &engramv1.ObservationResponse_Ack{Ack: &engramv1.ObservationAck{
			Status: engramv1.ObservationAck_STATUS_ACCEPTED, MemoryId: session + "-100000", CommittedAt: now,
		}},
		SessionId: session, ServerTimestamp: now, // no sequence: the client does not ask an echo for it
	})
	return &echo{ack: ack, file: file}, err
}

// serve serves until the listener is closed.
func (e *echo) serve(l net.Listener) error {
	s := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(e.handle))
	return s.Serve(l)
}

func (e *echo) handle(_ any, stream grpc.ServerStream) error {
	var first message
	if err := stream.RecvMsg(&first); err != nil { // the init
		return err
	}
	first.parts.Free()
	if err := stream.SendMsg(e.ack); err != nil {
		return err
	}
	if e.file != nil {
		return e.durably(stream)
	}
	var m message
	for {
		if err := stream.RecvMsg(&m); err != nil {
			return endOf(err)
		}
		m.parts.Free()
		if err := stream.SendMsg(e.ack); err != nil {
			return err
		}
	}
}

func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// owner is a stream that waits for the file.
type owner struct {
	durable atomic.Int64  // messages that are durable and not yet answered
	wake    chan struct{} // cap 1
}

// durably receives; its answers are sent by a second goroutine, which it waits for.
func (e *echo) durably(stream grpc.ServerStream) error {
	o := &owner{wake: make(chan struct{}, 1)}
	var received atomic.Int64
	over, answered := make(chan struct{}), make(chan error, 1)
	go func() { answered <- e.answer(stream, o, &received, over) }() // ends when all is answered, or the stream has
	err := func() error {
		var m message
		for {
			if err := stream.RecvMsg(&m); err != nil {
				return endOf(err)
			}
			received.Add(1)
			e.file.append(o, m.parts)
			m.parts.Free()
		}
	}()
	close(over)
	return errors.Join(err, <-answered)
}

func (e *echo) answer(stream grpc.ServerStream, o *owner, received *atomic.Int64, over <-chan struct{}) error {
	sent := int64(0)
	for {
		for range o.durable.Swap(0) {
			if err := stream.SendMsg(e.ack); err != nil {
				return err
			}
			sent++
		}
		if over == nil && sent == received.Load() {
			return nil
		}
		select {
		case <-o.wake:
		case <-over:
			over = nil
		case <-stream.Context().Done():
			return fmt.Errorf("the client has left: %w", stream.Context().Err())
		}
	}
}
