package abuse

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // for those who compress honestly
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// bytesCodec sends and receives messages as the bytes they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil //nolint:errcheck // nothing else is sent
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize() //nolint:errcheck,misspell // nothing else is received into; grpc's own name
	return nil
}

// say calls a method with messages as bytes, and returns how the call ended. Of what is answered in-band, the stream's end
// is not: the call is ended once so many answers came.
func (s *siege) say(conn *grpc.ClientConn, method string, messages [][]byte, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), harness.Patience)
	defer cancel()
	desc := grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	call, err := conn.NewStream(ctx, &desc, "/engram.v1.EngramService/"+method, append(opts, grpc.ForceCodecV2(bytesCodec{}))...)
	if err != nil {
		return err
	}
	for i := range messages {
		if call.SendMsg(&messages[i]) != nil {
			break // RecvMsg knows why
		}
	}
	_ = call.CloseSend() // likewise
	for {
		if err := call.RecvMsg(new([]byte)); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// methods are all that take a request, with one that is as it should be.
func methods(t *testing.T) map[string][][]byte {
	t.Helper()
	encode := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	e := harness.EpisodeOf(harness.Observation{Session: "mean", Sequence: 1})
	cue := &engramv1.Cue{MaxResults: 3, CueType: &engramv1.Cue_Embedding{Embedding: &engramv1.EmbeddingCue{Vector: e.GetEmbedding()}}}
	remember := &engramv1.RememberRequest{MemorySpaceId: "mean", MemoryType: &engramv1.RememberRequest_Episode{Episode: e}}
	begin := encode(&engramv1.ObservationRequest{Operation: &engramv1.ObservationRequest_Init{Init: &engramv1.StreamInit{}}})
	observe := encode(&engramv1.ObservationRequest{SequenceNumber: 1, Operation: &engramv1.ObservationRequest_Observation{Observation: e}})
	recall := encode(&engramv1.RecallRequest{MemorySpaceId: "mean", Cue: cue})
	return map[string][][]byte{
		"Remember":          {encode(remember)},
		"Experience":        {encode(&engramv1.ExperienceRequest{Episode: e})},
		"StreamingRemember": {encode(remember), encode(remember)},
		"Recall":            {recall},
		"StreamingRecall":   {recall, recall},
		"RecallStream":      {encode(&engramv1.StreamingRecallRequest{MemorySpaceId: "mean", Cue: cue})},
		"ObserveStream":     {begin, observe},
		"MemoryStream":      {begin, observe},
		"MemoryFlow":        {encode(&engramv1.MemoryFlowRequest{Request: &engramv1.MemoryFlowRequest_Remember{Remember: remember}})},
		"Forget":            {encode(&engramv1.ForgetRequest{})},
		"Levitate":          {begin},
	}
}

// shake changes a message here and there.
func shake(random *rand.Rand, message []byte) []byte {
	m := bytes.Clone(message)
	for range 1 + random.IntN(8) {
		if len(m) == 0 {
			return m
		}
		switch at := random.IntN(min(len(m), 64)); random.IntN(5) { // the first bytes say what the others are
		case 0:
			m[at] ^= 1 << random.IntN(8)
		case 1:
			m[random.IntN(len(m))] = byte(random.Uint32())
		case 2:
			m = m[:random.IntN(len(m))]
		case 3:
			m = append(m[:at:at], m[random.IntN(len(m)):]...)
		default:
			m = append(m, m[:at]...)
		}
	}
	return m
}

// TestShakenMessages sends messages that were right once, to every method.
func TestShakenMessages(t *testing.T) {
	s := besiege(t)
	conn := s.Connect()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	ended := map[codes.Code]int{}
	s.stand(96*mib, func() {
		for range nightly(5000, 150) {
			for method, right := range methods(t) {
				messages := make([][]byte, len(right))
				for i := range right {
					messages[i] = right[i]
					if i == len(right)-1 || random.IntN(4) == 0 {
						messages[i] = shake(random, right[i])
					}
				}
				err := s.say(conn, method, messages)
				ended[status.Code(err)]++
				switch status.Code(err) {
				case codes.OK, codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound, codes.Unimplemented, codes.ResourceExhausted:
				default:
					t.Errorf("%s ended with %v\n%x", method, err, messages)
				}
			}
		}
		t.Logf("ended with %v", ended)
		if ended[codes.OK] == 0 || ended[codes.InvalidArgument] == 0 {
			t.Errorf("%v: nothing was taken, or nothing refused: the messages were not what they should be", ended)
		}
	})
}

// The wire types of protobuf that are used here.
const (
	lengthGiven = 2
	groupStart  = 3
	groupEnd    = 4
)

func tag(b []byte, num, typ uint64) []byte { return binary.AppendUvarint(b, num<<3|typ) }

// field is one field of bytes, with its tag and its length.
func field(num uint64, data []byte) []byte {
	return append(binary.AppendUvarint(tag(nil, num, lengthGiven), uint64(len(data))), data...)
}

// TestMessagesMadeToHurt sends each of these alone, to every method, as the only message or behind an init.
func TestMessagesMadeToHurt(t *testing.T) {
	s := besiege(t)
	conn := s.Connect()
	const limit = 1 << 20
	nested := func(num uint64, depth int) (b []byte) { // a message in a message in a message
		for range depth {
			b = field(num, b)
			if len(b) > limit-16 {
				return b
			}
		}
		return b
	}
	groups := func(depth int) (b []byte) {
		for range depth {
			b = tag(b, 77, groupStart)
		}
		for range depth {
			b = tag(b, 77, groupEnd)
		}
		return b
	}
	text := func(s string) []byte {
		return field(1, []byte(s))
	}
	unknown := field(1234, make([]byte, limit-16))
	floats := field(3, field(4, make([]byte, limit-64)))
	rows := map[string][]byte{
		"groups, deep":                       groups(100_000),
		"groups that do not end":             bytes.Repeat(tag(nil, 77, groupStart), 300_000),
		"messages in messages, deep":         nested(2, 10_000),
		"episodes in episodes, deep":         nested(3, 10_000),
		"text that is no UTF-8":              text("\xff\xfe\x80"),
		"text with half a character":         text("abc\xe2\x82"),
		"text with a surrogate":              text("\xed\xa0\x80"),
		"a megabyte that nobody knows":       unknown,
		"a megabyte of empty fields":         bytes.Repeat([]byte{0x1a, 0}, limit/2),
		"a megabyte of floats":               floats,
		"a length of all there is":           {0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"a number of eleven bytes":           bytes.Repeat([]byte{0x80}, 11),
		"a field number of 0":                {0, 0},
		"the highest field number and above": {0xfa, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0},
		"nothing":                            {},
	}
	begin := methods(t)["ObserveStream"][0]
	s.stand(64*mib, func() {
		for range nightly(50, 2) {
			for name, message := range rows {
				for method := range methods(t) {
					messages := [][]byte{message}
					if method == "ObserveStream" || method == "MemoryStream" {
						messages = [][]byte{begin, message}
					}
					err := s.say(conn, method, messages)
					switch status.Code(err) {
					case codes.OK, codes.InvalidArgument, codes.FailedPrecondition, codes.Unimplemented:
					default:
						t.Errorf("%s to %s ended with %v", name, method, err)
					}
				}
			}
		}
	})
}

// TestTooLarge: one byte over the limit is refused by its size, the limit itself is not; compressed, the size that counts is
// that of what comes out, and no more than that is ever unpacked.
func TestTooLarge(t *testing.T) {
	s := besiege(t)
	conn := s.Connect()
	const limit = 1 << 20
	sized := func(n int) []byte { // an unknown field, n bytes in all
		return field(1234, make([]byte, n-5))
	}
	for _, opts := range [][]grpc.CallOption{nil, {grpc.UseCompressor("gzip")}} {
		for size, code := range map[int]codes.Code{limit: codes.InvalidArgument, limit + 1: codes.ResourceExhausted, 10 * limit: codes.ResourceExhausted} {
			message := sized(size)
			if len(message) != size && size < 10*limit {
				t.Fatalf("made %d bytes, wanted %d", len(message), size)
			}
			if err := s.say(conn, "Remember", [][]byte{message}, opts...); status.Code(err) != code {
				t.Errorf("%d bytes, with %v: %v, expected %v", size, opts, err, code)
			}
		}
	}
	bomb := harness.Bomb(t, 100)
	s.stand(24*mib, func() {
		for n := range nightly(200, 20) {
			method := []string{"Remember", "ObserveStream", "RecallStream", "Levitate"}[n%4]
			err := s.say(conn, method, [][]byte{{1}}, bomb)
			if code := status.Code(err); code != codes.ResourceExhausted && !(method == "Levitate" && code == codes.Unimplemented) {
				t.Errorf("100 MiB, packed, to %s: %v, expected RESOURCE_EXHAUSTED", method, err)
			}
		}
	})
}

// TestClientsThatNeverRead send what is answered until nothing is taken of them any more. The bound is for all that one costs,
// its connection with gRPC's buffers and stacks too: 263 to 307 KiB were measured, of which 192 are the window of what it sent and 60
// to 80 the connection, so that a stream costs less than 256. Messages of two bytes are another matter: gRPC counts what they
// hold and not the 80 bytes that it needs for each; 460 KiB were measured.
func TestClientsThatNeverRead(t *testing.T) {
	e := harness.EpisodeOf(harness.Observation{Session: "mean", Sequence: 7})
	for name, row := range map[string]struct {
		question  *engramv1.ObservationRequest
		count     int
		perClient int64
	}{
		"observations": {&engramv1.ObservationRequest{
			SequenceNumber: 7, Operation: &engramv1.ObservationRequest_Observation{Observation: e}, // a gap: nothing is journaled
		}, nightly(500, 100), (256 + 80) << 10},
		"next to nothing": {&engramv1.ObservationRequest{SequenceNumber: 7}, nightly(100, 20), 600 << 10},
	} {
		t.Run(name, func(t *testing.T) { neverRead(t, row.question, row.count, row.perClient) })
	}
}

func neverRead(t *testing.T, request *engramv1.ObservationRequest, count int, perClient int64) {
	t.Helper()
	s := besiege(t, "--pprof")
	begin := methods(t)["ObserveStream"][0]
	question, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	var before, live int64
	s.begins = func() { before = s.live() } // what the well-behaved client's writes have added by then is not the others'
	s.held = func(sent int64) {
		s.servedMore(100)
		s.probe(func() { live = s.live() - before })
		resident := s.rss()
		t.Logf("%d clients sent %d messages before they were stopped; each holds %d KiB then (of %d MiB in all)", count, sent, live/int64(count)>>10, resident/mib)
		if bound := int64(count)*perClient + 2*mib; live > bound && !harness.Race {
			t.Errorf("they hold %d MiB, expected at most %d MiB", live/mib, bound/mib)
		}
		if streams := s.metric("engram_sidecar_streams"); int(streams) != count {
			t.Errorf("%v streams, expected all %d to wait for their clients", streams, count)
		}
	}
	s.stand(3*int64(count)*perClient+32*mib, func() { // what they sent until then was garbage to collect as well
		s.mute(begin, question, count)
	})
	s.Await("the streams to end", func() (bool, error) { return s.metric("engram_sidecar_streams") == 0, nil })
}

// mute opens streams, each on its own connection, sends what is answered until nothing is taken any more, and reads nothing.
func (s *siege) mute(begin, question []byte, count int) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var senders sync.WaitGroup
	var sent atomic.Int64
	desc := grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	for range count {
		// A window of its own size, so that it is the sidecar that holds what is not read, and not gRPC in the client.
		conn, err := grpc.NewClient("passthrough:///"+s.Listen, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithInitialWindowSize(64<<10))
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = conn.Close() })
		call, err := conn.NewStream(ctx, &desc, engramv1.EngramService_ObserveStream_FullMethodName, grpc.ForceCodecV2(bytesCodec{}))
		if err != nil {
			s.t.Fatal(err)
		}
		senders.Go(func() {
			for err := call.SendMsg(&begin); err == nil; err = call.SendMsg(&question) {
				sent.Add(1)
			}
		})
	}
	last, still := int64(0), 0
	s.Await("the clients to be stopped", func() (bool, error) {
		now := sent.Load()
		if still++; now != last {
			last, still = now, 0
		}
		return still > 200 && now > int64(count), nil
	})
	s.attacker.hold(last)
	cancel()
	senders.Wait()
}
