package proxy

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

func TestPassedThroughEndsWithEitherSide(t *testing.T) {
	arrived, gone := make(chan struct{}, 1), make(chan error, 1)
	u, e := newUpstream(t, Config{}, func(_ any, stream grpc.ServerStream) error {
		arrived <- struct{}{}
		<-stream.Context().Done()
		gone <- stream.Context().Err()
		return nil
	})
	t.Run("the client cancels", func(t *testing.T) {
		ctx, cancel := context.WithCancel(e.ctx)
		e.open(ctx, dream)
		<-arrived
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("the client's deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(e.ctx, 50*time.Millisecond)
		defer cancel()
		call := e.open(ctx, dream)
		wantStatus(t, call.RecvMsg(new(Frame)), codes.DeadlineExceeded)
		select { // the deadline may have come before the call did
		case <-arrived:
			if err := <-gone; err == nil {
				t.Error("the call went on")
			}
		default:
		}
	})
	t.Run("the upstream ends it, while the client goes on", func(t *testing.T) {
		var serve grpc.StreamHandler = func(_ any, stream grpc.ServerStream) error {
			if err := stream.RecvMsg(new(Frame)); err != nil {
				return err
			}
			return status.Error(codes.Aborted, "enough")
		}
		u.serve.Store(&serve)
		call := e.open(e.ctx, levitate)
		for {
			f := Frame("more")
			if err := call.SendMsg(&f); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		wantStatus(t, call.RecvMsg(new(Frame)), codes.Aborted, "enough")
	})
	t.Run("the upstream breaks", func(t *testing.T) {
		var serve grpc.StreamHandler = func(_ any, stream grpc.ServerStream) error {
			arrived <- struct{}{}
			<-stream.Context().Done()
			return nil
		}
		u.serve.Store(&serve)
		call := e.open(e.ctx, levitate)
		<-arrived
		u.stop()
		wantStatus(t, call.RecvMsg(new(Frame)), codes.Unavailable)
		_, err := e.Forget(e.ctx, &pb.ForgetRequest{})
		wantStatus(t, err, codes.Unavailable, "engram at "+u.address)
	})
}

// TestPassedThroughUnread shows that a client which does not read slows its own call down and no other.
func TestPassedThroughUnread(t *testing.T) {
	var sent atomic.Int64
	u, e := newUpstream(t, Config{Grace: 300 * time.Millisecond}, func(_ any, stream grpc.ServerStream) error {
		f := Frame(strings.Repeat("x", 1<<10))
		for {
			if err := stream.SendMsg(&f); err != nil {
				return err
			}
			sent.Add(1)
		}
	})
	e.open(e.ctx, dream)
	last := int64(-1)
	await(t, "the upstream to be slowed down", func() bool {
		now := sent.Load()
		still := now == last && now > 0
		last = now
		time.Sleep(20 * time.Millisecond)
		return still
	})
	if n := sent.Load(); n > 1<<10 {
		t.Errorf("%d KiB are held for a client that does not read", n)
	}
	var serve grpc.StreamHandler = func(_ any, stream grpc.ServerStream) error { return status.Error(codes.NotFound, "no such thing") }
	u.serve.Store(&serve)
	_, err := e.Forget(e.ctx, &pb.ForgetRequest{})
	wantStatus(t, err, codes.NotFound)
	if errs := u.store.Put(e.ctx, nil); len(errs) != 0 {
		t.Error(errs)
	}
}

func TestStopEndsWhatIsPassedThrough(t *testing.T) {
	arrived, proceed := make(chan struct{}, 2), make(chan struct{})
	_, e := newUpstream(t, Config{}, func(_ any, stream grpc.ServerStream) error {
		arrived <- struct{}{}
		if method, _ := grpc.MethodFromServerStream(stream); method == dream {
			<-stream.Context().Done()
			return nil
		}
		<-proceed
		return stream.SendMsg(new(Frame))
	})
	endless := e.open(e.ctx, dream)
	<-arrived
	answered := make(chan error, 1)
	go func() {
		_, err := e.Forget(e.ctx, &pb.ForgetRequest{})
		answered <- err
	}()
	<-arrived
	e.stop()
	wantStatus(t, endless.RecvMsg(new(Frame)), codes.Unavailable, "the sidecar is stopping")
	close(proceed)
	if err := <-answered; err != nil {
		t.Errorf("a call under way was not let through: %v", err)
	}
	<-e.ended
}

func TestStopDoesNotWaitForAnUpstreamThatHangs(t *testing.T) {
	arrived := make(chan struct{})
	_, e := newUpstream(t, Config{Grace: 100 * time.Millisecond}, func(_ any, stream grpc.ServerStream) error {
		close(arrived)
		<-stream.Context().Done()
		return nil
	})
	answered := make(chan error, 1)
	go func() {
		_, err := e.Forget(e.ctx, &pb.ForgetRequest{})
		answered <- err
	}()
	<-arrived
	e.stop()
	wantStatus(t, <-answered, codes.Unavailable)
	<-e.ended
}
