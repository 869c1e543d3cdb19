package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/engram"
)

// upstream is a server behind the edge that does what the test says.
type upstream struct {
	t       *testing.T
	address string
	serve   atomic.Pointer[grpc.StreamHandler]
	store   *engram.Store
	stop    func()
}

// newUpstream starts a server, and an edge in front of it that passes on through the real adapter.
func newUpstream(t *testing.T, cfg Config, serve grpc.StreamHandler) (*upstream, *edge) {
	t.Helper()
	return newUpstreamWith(t, cfg, serve, func(*Deps) {})
}

// newUpstreamWith lets change alter what the edge works with.
func newUpstreamWith(t *testing.T, cfg Config, serve grpc.StreamHandler, change func(*Deps)) (*upstream, *edge) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{t: t, address: listener.Addr().String()}
	u.serve.Store(&serve)
	server := grpc.NewServer(grpc.ForceServerCodecV2(newFrameCodec()), grpc.WaitForHandlers(true), grpc.UnknownServiceHandler(
		func(srv any, stream grpc.ServerStream) error { return (*u.serve.Load())(srv, stream) }))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // ends with the stop below
	}()
	u.stop = func() { server.Stop(); <-ended }
	t.Cleanup(u.stop)
	if u.store, err = engram.Open(engram.Config{Address: u.address}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.store.Close() })
	return u, newEdgeWith(t, cfg, func(deps *Deps) {
		deps.Upstream = u.store
		change(deps)
	})
}

const (
	forget   = "/engram.v1.EngramService/Forget"   // known, unary
	dream    = "/engram.v1.EngramService/Dream"    // known, streams answers
	levitate = "/engram.v1.EngramService/Levitate" // known to nobody
)

// open begins a raw call to the edge.
func (e *edge) open(ctx context.Context, method string, opts ...grpc.CallOption) grpc.ClientStream {
	e.t.Helper()
	desc := grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	call, err := e.conn.NewStream(ctx, &desc, method, append(opts, grpc.ForceCodecV2(newFrameCodec()))...)
	if err != nil {
		e.t.Fatal(err)
	}
	return call
}

func sendFrame(t *testing.T, stream grpc.ClientStream, text string) {
	t.Helper()
	f := Frame(text)
	if err := stream.SendMsg(&f); err != nil {
		t.Fatal(err)
	}
}

func wantFrame(t *testing.T, stream grpc.ClientStream, text string) {
	t.Helper()
	var f Frame
	if err := stream.RecvMsg(&f); err != nil || string(f) != text {
		t.Fatalf("got %q, %v; want %q", f, err, text)
	}
}

// notProtobuf are bytes that no decoder would take: whoever passes them on has not looked at them.
var notProtobuf = string([]byte{0xff, 0xff, 0, 1, 2, 0x80, 0xfe})

func TestPassedThroughByteForByte(t *testing.T) {
	for _, method := range []string{forget, levitate} {
		t.Run(method, func(t *testing.T) {
			var seen metadata.MD
			var until time.Time
			_, e := newUpstream(t, Config{}, func(_ any, stream grpc.ServerStream) error {
				if got, _ := grpc.MethodFromServerStream(stream); got != method {
					return status.Errorf(codes.Internal, "called as %s", got)
				}
				seen, _ = metadata.FromIncomingContext(stream.Context())
				until, _ = stream.Context().Deadline()
				var request, more Frame
				if err := stream.RecvMsg(&request); err != nil || string(request) != notProtobuf {
					return status.Errorf(codes.Internal, "request %x, %v", request, err)
				}
				if err := stream.RecvMsg(&more); !errors.Is(err, io.EOF) {
					return status.Errorf(codes.Internal, "no end after the request: %v", err)
				}
				if err := stream.SetHeader(metadata.Pairs("first", "1", "first", "2", "raw-bin", "\x00\xff")); err != nil {
					return err
				}
				stream.SetTrailer(metadata.Pairs("last", "3", "end-bin", "\xfe\x00"))
				answer := Frame(notProtobuf + "answer")
				return stream.SendMsg(&answer)
			})
			deadline := time.Now().Add(testTime / 2)
			ctx, cancel := context.WithDeadline(metadata.AppendToOutgoingContext(e.ctx,
				"trace", "a", "trace", "b", "some-bin", "\x00\x01", "authorization", "Bearer sidecar", "proxy-authorization", "Basic sidecar",
				"cookie", "session=sidecar", "engram-priority", "low"), deadline)
			defer cancel()
			request, answer := Frame(notProtobuf), Frame(nil)
			var header, trailer metadata.MD
			err := e.conn.Invoke(ctx, method, &request, &answer, grpc.ForceCodecV2(newFrameCodec()), grpc.Header(&header), grpc.Trailer(&trailer))
			if err != nil || !bytes.Equal(answer, []byte(notProtobuf+"answer")) {
				t.Fatalf("%x, %v", answer, err)
			}
			if !slices.Equal(seen["trace"], []string{"a", "b"}) || !slices.Equal(seen["some-bin"], []string{"\x00\x01"}) {
				t.Errorf("metadata came as %v", seen)
			}
			for _, key := range []string{"authorization", "proxy-authorization", "cookie"} {
				if got := seen[key]; got != nil {
					t.Errorf("the sidecar's own credential went on: %s %v", key, got)
				}
			}
			if got := seen["engram-priority"]; !slices.Equal(got, []string{"low"}) {
				t.Errorf("metadata that may mean something to the server came as %v", got)
			}
			if n := len(seen["grpc-accept-encoding"]); n != 1 {
				t.Errorf("the connection's own metadata came %d times: %v", n, seen)
			}
			if off := deadline.Sub(until); until.IsZero() || off > 10*time.Second || off < -10*time.Second {
				t.Errorf("the deadline came as %v, want %v", until, deadline)
			}
			if !slices.Equal(header["first"], []string{"1", "2"}) || !slices.Equal(header["raw-bin"], []string{"\x00\xff"}) {
				t.Errorf("headers %v", header)
			}
			if !slices.Equal(trailer["last"], []string{"3"}) || !slices.Equal(trailer["end-bin"], []string{"\xfe\x00"}) {
				t.Errorf("trailers %v", trailer)
			}
		})
	}
}

func TestPassedThroughStatus(t *testing.T) {
	detailed, err := status.New(codes.FailedPrecondition, "not now: ü").WithDetails(&errdetails.ErrorInfo{Reason: "ASLEEP", Domain: "engram"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		want *status.Status
		head bool // headers come before it
	}{
		{"with details, without headers", detailed, false},
		{"with details, behind headers", detailed, true},
		{"a code that is none", status.New(codes.Code(77), "something new"), false},
		{"unauthenticated", status.New(codes.Unauthenticated, "who are you?"), true},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, e := newUpstream(t, Config{}, func(_ any, stream grpc.ServerStream) error {
				stream.SetTrailer(metadata.Pairs("last", "words"))
				if row.head {
					if err := stream.SendHeader(metadata.Pairs("first", "word")); err != nil {
						return err
					}
				}
				return row.want.Err()
			})
			var header, trailer metadata.MD
			_, err := e.Forget(e.ctx, &pb.ForgetRequest{MemorySpaceId: "any"}, grpc.Header(&header), grpc.Trailer(&trailer))
			got := status.Convert(err)
			if got.Code() != row.want.Code() || got.Message() != row.want.Message() || fmt.Sprint(got.Details()) != fmt.Sprint(row.want.Details()) {
				t.Errorf("got %v %v, want %v %v", err, got.Details(), row.want, row.want.Details())
			}
			if (len(header["first"]) == 1) != row.head || !slices.Equal(trailer["last"], []string{"words"}) {
				t.Errorf("headers %v, trailers %v", header, trailer)
			}
		})
	}
}

func TestPassedThroughStreamsBothWays(t *testing.T) {
	_, e := newUpstream(t, Config{}, func(_ any, stream grpc.ServerStream) error {
		greeting := Frame("who speaks first")
		if err := stream.SendMsg(&greeting); err != nil {
			return err
		}
		for count := 0; ; count++ {
			var f Frame
			if err := stream.RecvMsg(&f); errors.Is(err, io.EOF) {
				last := Frame(fmt.Sprintf("%d in all", count))
				return stream.SendMsg(&last)
			} else if err != nil {
				return err
			}
			f = append(Frame("echo of "), f...)
			if err := stream.SendMsg(&f); err != nil {
				return err
			}
		}
	})
	call := e.open(e.ctx, levitate)
	wantFrame(t, call, "who speaks first")
	for _, text := range []string{"one", "", notProtobuf, strings.Repeat("long", 100_000)} {
		sendFrame(t, call, text)
		wantFrame(t, call, "echo of "+text)
	}
	if err := call.CloseSend(); err != nil {
		t.Fatal(err)
	}
	wantFrame(t, call, "4 in all")
	if err := call.RecvMsg(new(Frame)); !errors.Is(err, io.EOF) {
		t.Errorf("want the end, got %v", err)
	}
}

func TestPassedThroughCompressed(t *testing.T) {
	var asked wireWatch
	_, e := newUpstream(t, Config{}, func(_ any, stream grpc.ServerStream) error {
		if err := grpc.SetSendCompressor(stream.Context(), "gzip"); err != nil {
			return err
		}
		var f Frame
		if err := stream.RecvMsg(&f); err != nil {
			return err
		}
		return stream.SendMsg(&f)
	})
	e.conn = e.dial(grpc.WithStatsHandler(&asked))
	text := strings.Repeat("again and ", 10_000)
	for _, encoding := range []string{"gzip", ""} {
		request, answer := Frame(text), Frame(nil)
		err := e.conn.Invoke(e.ctx, forget, &request, &answer, grpc.ForceCodecV2(newFrameCodec()), grpc.UseCompressor(encoding))
		if err != nil || string(answer) != text {
			t.Errorf("%d bytes, %v", len(answer), err)
		}
		if got, _ := asked.compression.Load().(string); got != encoding {
			t.Errorf("a client that sends %q is answered with %q", encoding, got)
		}
	}
}

// TestPassedThroughHeadersComeAtOnce: a client may wait for them before it says anything.
func TestPassedThroughHeadersComeAtOnce(t *testing.T) {
	_, e := newUpstream(t, Config{}, func(_ any, stream grpc.ServerStream) error {
		if err := stream.SendHeader(metadata.Pairs("first", "word")); err != nil {
			return err
		}
		return stream.RecvMsg(new(Frame))
	})
	call := e.open(e.ctx, levitate)
	if header, err := call.Header(); err != nil || !slices.Equal(header["first"], []string{"word"}) {
		t.Fatalf("headers %v, %v", header, err)
	}
	sendFrame(t, call, "now")
	if err := call.RecvMsg(new(Frame)); !errors.Is(err, io.EOF) {
		t.Errorf("want the end, got %v", err)
	}
}

// TestPassedThroughLargeAnswers: only what comes from clients is bounded by the sidecar's own limit.
func TestPassedThroughLargeAnswers(t *testing.T) {
	text := strings.Repeat("large", 1<<20)
	_, e := newUpstream(t, Config{}, func(_ any, stream grpc.ServerStream) error {
		answer := Frame(text)
		return stream.SendMsg(&answer)
	})
	request, answer := Frame(nil), Frame(nil)
	err := e.conn.Invoke(e.ctx, forget, &request, &answer, grpc.ForceCodecV2(newFrameCodec()), grpc.MaxCallRecvMsgSize(8<<20))
	if err != nil || string(answer) != text {
		t.Errorf("%d bytes, %v; want %d", len(answer), err, len(text))
	}
}

func TestPassedThroughMessageLimit(t *testing.T) {
	_, e := newUpstream(t, Config{}, func(_ any, stream grpc.ServerStream) error { return stream.RecvMsg(new(Frame)) })
	call := e.open(e.ctx, levitate)
	sendFrame(t, call, strings.Repeat("x", 1<<20+1))
	wantStatus(t, call.RecvMsg(new(Frame)), codes.ResourceExhausted)
	if n := e.counts.of(ReasonTooLarge); n != 1 {
		t.Errorf("%d refusals counted, want 1", n)
	}
}

func TestNothingIsPassedThroughToOtherServices(t *testing.T) {
	_, e := newUpstream(t, Config{}, func(any, grpc.ServerStream) error { return nil })
	for _, method := range []string{"/other.Service/Method", "/engram.v1.EngramServiceTwo/Forget"} {
		err := e.conn.Invoke(e.ctx, method, &pb.ForgetRequest{}, &pb.ForgetResponse{})
		wantStatus(t, err, codes.Unimplemented, method)
	}
}
