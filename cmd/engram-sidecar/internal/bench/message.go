package bench

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// Fields of the messages that are put together here, as tags on the wire.
const (
	tagSpace    = 1<<3 | 2 // memory_space_id of both requests
	tagSequence = 11 << 3  // sequence_number of an ObservationRequest
	tagEpisode  = 3<<3 | 2 // episode of a RememberRequest
	tagID       = 1<<3 | 2 // id of an Episode
	tagAck      = 2<<3 | 2 // ack of an ObservationResponse
	idSize      = 20       // of the ids that a load sent straight to a store gives out
	bodies      = 16       // different episodes
	tailSize    = 1 + 10 + 1 + 1 + 64
)

// episodeOf makes an Episode without an id. The same number gives the same vector.
func episodeOf(text int, number uint64) []byte {
	random := rand.New(rand.NewPCG(number, 0x656e6772616d))
	vector := make([]float32, store.Dimensions)
	for i := range vector {
		vector[i] = float32(random.NormFloat64())
	}
	const words = "an observation that was made to be measured "
	b, err := proto.Marshal(&engramv1.Episode{
		What: strings.Repeat(words, text/len(words)+1)[:text], Embedding: vector,
	})
	if err != nil {
		panic(fmt.Sprintf("bench: an episode of our own cannot be encoded: %v", err))
	}
	return b
}

// messages makes the requests of one stream. The large part of each was encoded beforehand and is shared; what is its own
// is written into a ring, whose places are free again when the request in them was answered.
type messages struct {
	kind   Protocol
	stream int
	spaces []string
	shared [][]byte // observation: the whole request but for tail; remember: the episode without its id
	ring   [][tailSize]byte
	number uint64
}

// shared are the parts that all streams of a load have in common.
func sharedParts(kind Protocol, l *Load) [][]byte {
	parts := make([][]byte, bodies)
	for i := range parts {
		episode := episodeOf(l.Size, uint64(i))
		if kind == ProtocolObserve {
			episode = append(binary.AppendUvarint([]byte{tagEpisode}, uint64(len(episode))), episode...)
		}
		parts[i] = episode
	}
	return parts
}

// spacesOf names the memory spaces of a load.
func spacesOf(l *Load) []string {
	names := make([]string, l.Spaces)
	for i := range names {
		names[i] = fmt.Sprintf("bench-%d", i)
	}
	return names
}

func newMessages(kind Protocol, l *Load, shared [][]byte, stream int) *messages {
	return &messages{kind: kind, stream: stream, spaces: spacesOf(l), shared: shared, ring: make([][tailSize]byte, l.Window)}
}

// next is the request with the next sequence number.
func (m *messages) next() mem.BufferSlice {
	m.number++
	at := m.number % uint64(len(m.ring))
	own := m.ring[at][:0]
	body := m.shared[(m.number+uint64(m.stream))%bodies]                 //nolint:gosec // not negative
	space := m.spaces[(m.number+uint64(m.stream))%uint64(len(m.spaces))] //nolint:gosec // not negative
	if m.kind == ProtocolObserve {
		own = append(own, tagSequence)
		own = binary.AppendUvarint(own, m.number)
		if len(m.spaces) > 1 {
			own = append(own, tagSpace, byte(len(space))) //nolint:gosec // at most 64
			own = append(own, space...)
		}
		return mem.BufferSlice{mem.SliceBuffer(body), mem.SliceBuffer(own)}
	}
	own = append(own, tagSpace, byte(len(space))) //nolint:gosec // at most 64
	own = append(own, space...)
	own = append(own, tagEpisode)
	own = binary.AppendUvarint(own, uint64(len(body)+2+idSize))
	own = append(own, tagID, idSize)
	own = appendID(own, m.stream, m.number)
	return mem.BufferSlice{mem.SliceBuffer(own), mem.SliceBuffer(body)}
}

// appendID appends an id of idSize bytes that no other stream gives out.
func appendID(dst []byte, stream int, number uint64) []byte {
	const digits = "0123456789abcdef"
	both := uint64(stream)<<44 | number //nolint:gosec // not negative
	dst = append(dst, "b-m-"...)
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, digits[both>>shift&15])
	}
	return dst
}

// initOf is the first request of an observation stream.
func initOf(l *Load) []byte {
	b, err := proto.Marshal(&engramv1.ObservationRequest{
		MemorySpaceId: spacesOf(l)[0],
		Operation:     &engramv1.ObservationRequest_Init{Init: &engramv1.StreamInit{ClientBufferSize: uint32(l.Window)}}, //nolint:gosec // bounded
	})
	if err != nil {
		panic(fmt.Sprintf("bench: an init of our own cannot be encoded: %v", err))
	}
	return b
}
