package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// speaker is one session of a company. It opens one stream after the other.
type speaker struct {
	*company
	conn   *grpc.ClientConn
	name   string
	acks   string // it asks for
	late   bool   // reads nothing for a while, so that answers pile up on their way to it
	leaves bool   // breaks its streams off
	call   grpc.CallOption

	session string
}

// streamed is how many observations go over one stream at most.
const streamed = 300

func (s *speaker) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil && !isDone(s.enough); n++ {
		if err := s.stream(ctx, n); err != nil {
			s.failed(s.name, err)
			nap(ctx, 20*time.Millisecond)
		}
	}
}

// stream is one stream's life.
func (s *speaker) stream(ctx context.Context, nth int) error {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "engram-acks", s.acks))
	defer cancel()
	options := []grpc.CallOption{grpc.WaitForReady(true)}
	if s.call != nil {
		options = append(options, s.call)
	}
	stream, err := engramv1.NewEngramServiceClient(s.conn).ObserveStream(ctx, options...)
	if err != nil {
		return err
	}
	if err := stream.Send(initOf(s.session)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	s.session = first.GetInitAck().GetSessionId()
	if s.session == "" || first.GetSessionId() != s.session {
		s.blame("%s: init was answered with %v", s.name, first)
	}
	from := first.GetInitAck().GetInitialSequence()
	var acked atomic.Uint64
	acked.Store(from)
	read := make(chan error, 1)
	go func() { // ends with the stream; read says so
		if s.late {
			nap(ctx, 300*time.Millisecond)
		}
		read <- s.read(stream, &acked)
	}()
	s.write(ctx, stream, from, &acked)
	if s.leaves && nth%2 == 0 {
		cancel()
	} else if err := stream.CloseSend(); err != nil {
		cancel()
	}
	if err := <-read; !s.leaves {
		return err
	}
	return nil
}

// write sends a stream's observations. One that reads at once has a window of 40.
func (s *speaker) write(ctx context.Context, stream observing, from uint64, acked *atomic.Uint64) {
	for n := from + 1; n <= from+streamed && !isDone(s.enough); n++ {
		for !s.late && n > acked.Load()+40 {
			if nap(ctx, time.Millisecond); ctx.Err() != nil || stream.Context().Err() != nil {
				return
			}
		}
		if stream.Send(observe(n, s.sends(harness.Observation{Session: s.name, Sequence: n}))) != nil {
			return // the reader learns why
		}
	}
}

type observing = grpc.BidiStreamingClient[engramv1.ObservationRequest, engramv1.ObservationResponse]

// read takes a stream's answers until its end.
func (s *speaker) read(stream observing, acked *atomic.Uint64) error {
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if answer.GetSessionId() != s.session || answer.GetServerTimestamp().GetSeconds() == 0 {
			s.blame("%s: %v, expected an answer of session %s", s.name, answer, s.session)
		}
		switch of := (harness.Observation{Session: s.name, Sequence: answer.GetSequenceNumber()}); answer.GetAck().GetStatus() {
		case engramv1.ObservationAck_STATUS_ACCEPTED:
			s.told(of, answer.GetAck().GetMemoryId())
			acked.Store(max(acked.Load(), of.Sequence))
		case engramv1.ObservationAck_STATUS_INDEXED:
			if id := answer.GetAck().GetMemoryId(); id != "" {
				s.told(of, id)
			}
		default:
			if answer.GetStatus() == nil || answer.GetStatus().GetState() == engramv1.StreamStatus_STATE_ERROR {
				s.blame("%s: %v", s.name, answer)
			}
		}
	}
}

// caller makes one kind of calls that belong to no session, one after the other.
type caller struct {
	*company
	name string
	rpc  engramv1.EngramServiceClient
	last uint64
}

func (k *caller) run(ctx context.Context, serve func(*caller, context.Context) error) {
	for ctx.Err() == nil && !isDone(k.enough) {
		if err := serve(k, ctx); err != nil {
			k.failed(k.name, err)
			nap(ctx, 20*time.Millisecond)
		}
	}
}

// next is a request with an id of its client's own, as a write without a session wants one.
func (k *caller) next() (harness.Observation, *engramv1.RememberRequest) {
	k.last += 2 - k.last%2 // those have one
	of := harness.Observation{Session: k.name, Sequence: k.last}
	return of, &engramv1.RememberRequest{MemoryType: &engramv1.RememberRequest_Episode{Episode: k.sends(of)}}
}

// remember makes one call and recalls what it wrote, which may be pending or in the store.
func (k *caller) remember(ctx context.Context) error {
	of, request := k.next()
	answer, err := k.rpc.Remember(ctx, request, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	k.told(of, answer.GetMemoryId())
	if k.last%10 != 0 || !k.recalls {
		return nil
	}
	var partial metadata.MD
	found, err := k.rpc.Recall(ctx, &engramv1.RecallRequest{Cue: cueOf(request.GetEpisode()), MaxResults: 1}, grpc.Header(&partial))
	if err == nil && len(partial.Get("engram-partial")) == 0 { // else the machine was too busy to read all that waits in time
		k.recalled(request.GetEpisode(), answer.GetMemoryId(), found.GetMemories())
	}
	return err
}

// rememberMany makes one stream of requests that are answered in their order.
func (k *caller) rememberMany(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := k.rpc.StreamingRemember(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	var all []harness.Observation
	for range 40 {
		of, request := k.next()
		if all = append(all, of); stream.Send(request) != nil {
			break // the next answer says why
		}
	}
	for _, of := range all {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		k.told(of, answer.GetMemoryId())
	}
	return stream.CloseSend()
}

// flow remembers over one MemoryFlow that follows what becomes of it.
func (k *caller) flow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := k.rpc.MemoryFlow(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	if err := stream.Send(&engramv1.MemoryFlowRequest{Request: &subscribeOnFlow}); err != nil {
		return nil //nolint:nilerr // one that was cut off is no failure: the next call opens another
	}
	all := map[int64]harness.Observation{}
	for n := range int64(40) {
		of, request := k.next()
		all[n+1] = of
		if stream.Send(&engramv1.MemoryFlowRequest{
			SequenceNumber: n + 1, Request: &engramv1.MemoryFlowRequest_Remember{Remember: request},
		}) != nil {
			break
		}
	}
	for left := len(all); left > 0; {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		switch {
		case answer.GetRememberResult() != nil:
			k.told(all[answer.GetSequenceNumber()], answer.GetRememberResult().GetMemoryId())
			left--
		case answer.GetEvent() != nil:
			if id := answer.GetEvent().GetMetadata()["memory_id"]; id == "" {
				k.blame("%s: %v", k.name, answer)
			}
		case answer.GetStatus().GetState() != engramv1.FlowStatus_STATE_ACTIVE:
			return fmt.Errorf("status %v", answer.GetStatus())
		}
	}
	return nil
}

func nap(ctx context.Context, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
