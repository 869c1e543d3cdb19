package bench

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
)

// serveEcho serves an echo, or what the test puts in its place, until the test ends.
func serveEcho(t *testing.T, handle grpc.StreamHandler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if handle == nil {
		e, err := newEcho(nil)
		if err != nil {
			t.Fatal(err)
		}
		handle = e.handle
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(handle))
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func driveTo(t *testing.T, address string, l Load) measured {
	t.Helper()
	var m measured
	err := drive(t.Context(), address, ProtocolObserve, l, func(e event) {
		if e.Result != nil {
			m = *e.Result
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// answering answers each message but the init with what the test makes of its number.
func answering(with func(n uint64) *engramv1.ObservationResponse) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		for n := uint64(0); ; n++ {
			var m message
			if err := stream.RecvMsg(&m); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			m.parts.Free()
			r := &engramv1.ObservationResponse{Result: &engramv1.ObservationResponse_InitAck{InitAck: &engramv1.StreamInitAck{}}}
			if n > 0 {
				if r = with(n); r == nil {
					continue
				}
			}
			b, err := proto.Marshal(r)
			if err != nil {
				return err
			}
			if err := stream.SendMsg(mem.SliceBuffer(b)); err != nil {
				return err
			}
		}
	}
}

func ackOf(n uint64) *engramv1.ObservationResponse {
	return &engramv1.ObservationResponse{
		Result:         &engramv1.ObservationResponse_Ack{Ack: &engramv1.ObservationAck{Status: engramv1.ObservationAck_STATUS_ACCEPTED}},
		SequenceNumber: n,
	}
}

// TestWhatIsNotAckedIsNoFigure: each of these servers looks fast and is wrong.
func TestWhatIsNotAckedIsNoFigure(t *testing.T) {
	for name, tc := range map[string]struct {
		with func(n uint64) *engramv1.ObservationResponse
		want string
	}{
		"an ack is missing": {func(n uint64) *engramv1.ObservationResponse {
			if n == 5 {
				return nil
			}
			return ackOf(0)
		}, "were sent and"},
		"an observation is refused": {func(n uint64) *engramv1.ObservationResponse {
			if n < 5 {
				return ackOf(n)
			}
			return &engramv1.ObservationResponse{Result: &engramv1.ObservationResponse_Status{
				Status: &engramv1.StreamStatus{State: engramv1.StreamStatus_STATE_ERROR, Message: "no more"},
			}}
		}, "expected an ack"},
		"the acks are of others": {func(n uint64) *engramv1.ObservationResponse { return ackOf(n + 1) }, "expected the ack of 1000, got one of 1001"},
	} {
		t.Run(name, func(t *testing.T) {
			l := quick()
			l.Count = 5000
			err := drive(t.Context(), serveEcho(t, answering(tc.with)), ProtocolObserve, l, func(e event) {
				if e.Result != nil {
					t.Errorf("it is a figure: %+v", e.Result)
				}
			})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("it ended with %v, want %q", err, tc.want)
			}
		})
	}
}

func TestAServerThatEndsIsNoFigure(t *testing.T) {
	l := quick()
	address := serveEcho(t, func(_ any, stream grpc.ServerStream) error { return stream.RecvMsg(new(message)) })
	if err := drive(t.Context(), address, ProtocolObserve, l, func(event) {}); err == nil {
		t.Error("a stream without an answer is a figure")
	}
}

// TestTheMessagesAreGood: what is sent is what an application would send, and a sidecar would take.
func TestTheMessagesAreGood(t *testing.T) {
	l := quick()
	l.Spaces = 2
	m := newMessages(ProtocolObserve, &l, sharedParts(ProtocolObserve, &l), 1)
	for n := uint64(1); n < 300; n++ {
		b := join(m.next())
		var o envelope.Observation
		var e envelope.Episode
		if err := envelope.ScanObservation(b, &o); err != nil {
			t.Fatal(err)
		}
		if err := envelope.ScanEpisode(o.Body, &e); err != nil {
			t.Fatal(err)
		}
		if o.Op != envelope.OpObservation || o.Sequence != n || !strings.HasPrefix(string(o.Space), "bench-") {
			t.Fatalf("the request with number %d is %+v", n, o)
		}
	}
	ids := map[string]bool{}
	for stream := range 3 {
		m = newMessages(ProtocolRemember, &l, sharedParts(ProtocolRemember, &l), stream)
		for range 300 {
			var r engramv1.RememberRequest
			if err := proto.Unmarshal(join(m.next()), &r); err != nil {
				t.Fatal(err)
			}
			if len(r.GetEpisode().GetEmbedding()) != 768 || len(r.GetEpisode().GetWhat()) != l.Size || r.GetMemorySpaceId() == "" {
				t.Fatalf("the request is %v", &r)
			}
			ids[r.GetEpisode().GetId()] = true
		}
	}
	if len(ids) != 900 {
		t.Errorf("%d different ids in 900 requests", len(ids))
	}
}

// TestTheDurableEchoIsDurable: when a stream learns that a message is durable, its bytes are in the file.
func TestTheDurableEchoIsDurable(t *testing.T) {
	dir := t.TempDir()
	f, err := openGroupFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- f.run(t.Context()) }()
	o, other := &owner{wake: make(chan struct{}, 1)}, &owner{wake: make(chan struct{}, 1)}
	done := int64(0)
	for n := uint64(0); n < 200; n++ {
		f.append(o, mem.BufferSlice{mem.SliceBuffer(binary.BigEndian.AppendUint64(nil, n))})
		if n%3 == 0 {
			f.append(other, mem.BufferSlice{mem.SliceBuffer("other..."[:8])})
		}
		<-o.wake
		done += o.durable.Swap(0)
		b, err := os.ReadFile(filepath.Join(dir, "bare-0"))
		if err != nil || done != int64(n)+1 || !strings.Contains(string(b), string(binary.BigEndian.AppendUint64(nil, n))) {
			t.Fatalf("%d of %d messages are durable, %d bytes in the file, %v", done, n+1, len(b), err)
		}
	}
	select {
	case err := <-ran:
		t.Fatal(err)
	default:
	}
}
