//go:build !race

package proxy

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// instant is a producer whose records are durable at once, so that what is measured is the edge alone.
type instant struct{ index uint64 }

func (p *instant) Append(r *wal.Record) error {
	p.index++
	r.Index = p.index
	return nil
}
func (p *instant) Reset()                       {}
func (p *instant) Durable() (uint64, time.Time) { return p.index, time.Unix(1_700_000_000, 1) }
func (p *instant) Err() error                   { return nil }
func (p *instant) Wake() <-chan struct{}        { return nil }

// nowhere is a stream that nobody is at the other end of.
type nowhere struct{ grpc.ServerStream }

func (nowhere) Context() context.Context { return context.Background() }

// edgeOfOne is an observation stream as it is between its receiver and its sender, without a transport and a journal.
func edgeOfOne(tb testing.TB) *observation {
	tb.Helper()
	att, err := session.New(session.Config{Timeout: time.Hour, Limit: 1}).Open(session.ID{1}, "default", uint8(wal.LaneNormal))
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{cfg: Config{}.withDefaults(), log: hclog.NewNullLogger(), observer: nobody{}}
	o := &observation{att: att, id: wal.SessionID{1}, space: "default", lane: wal.LaneNormal}
	o.pipe.s, o.stream, o.owner, o.producer = s, nowhere{}, o, &instant{}
	o.nudged = make(chan struct{}, 1)
	o.idText = o.id.String()
	return o
}

// requestsOf makes the requests of one stream, one after the other in the same memory, as the codec hands them over.
type requestsOf struct {
	body  []byte
	frame Frame
	n     uint64
}

func newRequests(tb testing.TB, id string) *requestsOf {
	tb.Helper()
	body, err := proto.Marshal(&pb.ObservationRequest{Operation: &pb.ObservationRequest_Observation{Observation: episode(id)}})
	if err != nil {
		tb.Fatal(err)
	}
	return &requestsOf{body: body, frame: make(Frame, 0, len(body)+frameSlack)}
}

func (r *requestsOf) next() Frame {
	r.n++
	r.frame = append(r.frame[:0], r.body...)
	r.frame = protowire.AppendTag(r.frame, 11, protowire.VarintType)
	return protowire.AppendVarint(r.frame, r.n)
}

// one takes an observation through the edge; each time many are owed, their acks are encoded as the sender does it.
func (r *requestsOf) one(o *observation, batch *sendBatch) {
	o.in.frame = r.next()
	o.handle()
	if r.n%32 == 0 {
		o.learn()
		batch.collect(&o.pipe)
		*batch.whole = batch.buf
		freeAnswerBuffer(batch.whole) // the transport has written it
		batch.whole, batch.buf = nil, nil
	}
}

// BenchmarkEdge is what the edge does for an observation: walk over its bytes, look at 768 floats, the session's rules, the
// answer's place in the queue, the bytes of the ack. The copy of the request is the codec's, and counted too.
func BenchmarkEdge(b *testing.B) {
	for _, id := range []string{"", "an-id-of-its-own"} {
		b.Run("id="+strconv.FormatBool(id != ""), func(b *testing.B) {
			o, r, batch := edgeOfOne(b), newRequests(b, id), newSendBatch()
			o.start = func() {} // the benchmark is the sender
			b.ReportAllocs()
			before := processorTime(b)
			for b.Loop() {
				r.one(o, batch)
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(r.n), "cpu-ns/op")
			if o.att.Next() != r.n+1 {
				b.Fatalf("session at %d after %d observations", o.att.Next(), r.n)
			}
		})
	}
}

// processorTime is what the process has taken of its processors so far: unlike the time of day it does not tell what else
// they did.
func processorTime(tb testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestTheEdgeAllocatesOnlyForManyAcksAtOnce bounds what an observation costs the collector beside its own bytes: one buffer
// for the acks that are sent together.
func TestTheEdgeAllocatesOnlyForManyAcksAtOnce(t *testing.T) {
	for _, id := range []string{"", "an-id-of-its-own"} {
		o, r, batch := edgeOfOne(t), newRequests(t, id), newSendBatch()
		o.start = func() {}
		const many = 32
		round := func() {
			for range many {
				r.one(o, batch)
			}
		}
		for range 20 {
			round()
		}
		if n := testing.AllocsPerRun(100, round); n > 2 {
			t.Errorf("%d observations with the id %q allocate %.1f times", many, id, n)
		}
		if o.att.Next() != r.n+1 {
			t.Errorf("session at %d after %d observations", o.att.Next(), r.n)
		}
	}
}
