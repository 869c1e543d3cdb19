package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// fake is a sidecar that acks everything, and answers a recall with what it was told to.
type fake struct {
	engramv1.UnimplementedEngramServiceServer

	mu       sync.Mutex
	episodes []*engramv1.Episode
	inits    []*engramv1.ObservationRequest
	asked    []*engramv1.StreamingRecallRequest

	answers []*engramv1.StreamingRecallResponse
	partial string
	refusal error
	mended  bool // poison is taken too
}

func (f *fake) ObserveStream(stream grpc.BidiStreamingServer[engramv1.ObservationRequest, engramv1.ObservationResponse]) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer := f.observed(req)
		if answer == nil {
			return f.refusal
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (f *fake) observed(req *engramv1.ObservationRequest) *engramv1.ObservationResponse {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refusal != nil {
		return nil
	}
	answer := &engramv1.ObservationResponse{SequenceNumber: req.SequenceNumber}
	switch op := req.Operation.(type) {
	case *engramv1.ObservationRequest_Init:
		f.inits = append(f.inits, req)
		answer.Result = &engramv1.ObservationResponse_InitAck{InitAck: &engramv1.StreamInitAck{SessionId: "the-session"}}
	case *engramv1.ObservationRequest_Observation:
		f.episodes = append(f.episodes, op.Observation)
		answer.Result = &engramv1.ObservationResponse_Ack{Ack: &engramv1.ObservationAck{Status: engramv1.ObservationAck_STATUS_ACCEPTED}}
	case *engramv1.ObservationRequest_Close:
		answer.Result = &engramv1.ObservationResponse_Status{Status: &engramv1.StreamStatus{State: engramv1.StreamStatus_STATE_CLOSED}}
	}
	return answer
}

// StreamingRemember is the store's side: it takes everything but poison.
func (f *fake) StreamingRemember(stream grpc.BidiStreamingServer[engramv1.RememberRequest, engramv1.RememberResponse]) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer, err := f.Remember(stream.Context(), req)
		if err != nil {
			return err
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (f *fake) Remember(_ context.Context, req *engramv1.RememberRequest) (*engramv1.RememberResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.GetEpisode().GetWhat() == "poison" && !f.mended {
		return nil, refused("what: it is poison")
	}
	f.episodes = append(f.episodes, req.GetEpisode())
	return &engramv1.RememberResponse{MemoryId: req.GetEpisode().GetId()}, nil
}

func (f *fake) RecallStream(req *engramv1.StreamingRecallRequest, stream grpc.ServerStreamingServer[engramv1.StreamingRecallResponse]) error {
	f.mu.Lock()
	f.asked = append(f.asked, req)
	f.mu.Unlock()
	if f.refusal != nil {
		return f.refusal
	}
	if f.partial != "" {
		if err := stream.SetHeader(metadata.Pairs("engram-partial", f.partial)); err != nil {
			return err
		}
	}
	for _, a := range f.answers {
		if err := stream.Send(a); err != nil {
			return err
		}
	}
	return nil
}

// serveFake runs a fake for the length of the test and returns its address.
func serveFake(t *testing.T, f *fake) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	engramv1.RegisterEngramServiceServer(server, f)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }() // ends at the Stop below
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("fake: %v", err)
		}
	})
	return l.Addr().String()
}

// outcome is what a call of the program came to.
type outcome struct {
	code           int
	stdout, stderr string
}

// call runs the program in this process.
func call(stdin string, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	p := program{stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr, environ: []string{"HOME=/nonexistent"}}
	code := p.run(context.Background(), args)
	return outcome{code, stdout.String(), stderr.String()}
}

// wants checks an outcome.
func (o outcome) wants(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if o.code != code || !strings.Contains(o.stdout, stdout) || !strings.Contains(o.stderr, stderr) {
		t.Errorf("code %d, stdout %q, stderr %q; want %d, %q, %q", o.code, o.stdout, o.stderr, code, stdout, stderr)
	}
	if stderr == "" && o.stderr != "" {
		t.Errorf("stderr %q, want nothing", o.stderr)
	}
}

func refused(message string) error { return status.Error(codes.InvalidArgument, message) }

func hit(id, text string, score float32) *engramv1.Memory {
	return &engramv1.Memory{Id: id, Content: text, Activation: score}
}

func batches(sizes ...int) []*engramv1.StreamingRecallResponse {
	var out []*engramv1.StreamingRecallResponse
	n := 0
	for i, size := range sizes {
		b := &engramv1.StreamingRecallResponse{MoreResults: i < len(sizes)-1}
		for range size {
			n++
			b.Results = append(b.Results, hit(fmt.Sprintf("id-%d", n), fmt.Sprintf("text %d", n), 1/float32(n)))
		}
		out = append(out, b)
	}
	return out
}
