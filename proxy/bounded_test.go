package proxy

import (
	"fmt"
	"testing"
	"unsafe"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/buffers"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// heldByGRPC is what gRPC itself holds of a stream whose client does not read: as many messages as its window has room for, each
// in a buffer of its own, and two buffers of answers.
func heldByGRPC(message *pb.ObservationRequest) int {
	n := proto.Size(message) + 5
	var pool buffers.Pool
	return streamWindow/n*cap(*pool.Get(n)) + transitMost*answerBuffer
}

// TestClientThatNeverReadsIsBounded: whatever a client asked for, by the defaults it costs 256 KiB when it reads nothing, and
// then it is its own observations that wait. News come at full speed meanwhile, and stop nobody.
func TestClientThatNeverReadsIsBounded(t *testing.T) {
	const merged = "cumulative,indexed"
	for name, row := range map[string]struct{ acks, encoding string }{
		"an ack each": {acks: "indexed"}, "one for many": {acks: merged}, "zipped": {acks: "indexed", encoding: gzip.Name},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, Config{})
			conn := e.dial(grpc.WithDefaultCallOptions(grpc.UseCompressor(row.encoding)))
			client := &edge{t: t, ctx: e.ctx, EngramServiceClient: pb.NewEngramServiceClient(conn)}
			c := client.begin("", &pb.StreamInit{}, acksKey, row.acks)
			last := uint64(1 << 40)
			if row.acks == merged { // its acks are few: the news are what piles up
				last = 500
			}
			go func() {
				for seq := uint64(1); seq <= last; seq++ {
					if c.stream.Send(observationOf(seq, episode(fmt.Sprintf("%036d", seq)))) != nil {
						return
					}
				}
			}()
			await(t, "the receiver to stop reading", e.stalled())
			settleAll(e, c.id)
			f := followed(e)
			held := f.memory() + f.o.outbox.memory()
			if grpcs := heldByGRPC(observationOf(1, episode(fmt.Sprintf("%036d", 1)))); held+grpcs > 256<<10 {
				t.Errorf("%d bytes are held for a client that reads nothing, and gRPC's %d: want at most 256 KiB", held, grpcs)
			}
			if n := f.o.transit.handed.Load(); row.acks != merged && n != transitMost {
				t.Errorf("gRPC gives back what it has not written: it has %d buffers of answers, want %d", n, transitMost)
			}
			quick := e.begin("", &pb.StreamInit{})
			quick.observe(upTo(20)...)
			quick.acks(upTo(20)...)
			if len(e.journal.records(wal.KindWrite)) < 100 {
				t.Error("next to nothing was taken: the test shows nothing")
			}
		})
	}
}

// memory is what the chunks of an outbox take.
func (o *outbox) memory() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := o.head.chunk; c != nil; c = c.next {
		n += int(unsafe.Sizeof(*c)) + cap(c.text)
	}
	return n
}
