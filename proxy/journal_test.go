package proxy

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// onDisk is a server over a journal on disk, with nothing behind it.
func onDisk(tb testing.TB) (*wal.Journal, func() pb.EngramServiceClient) {
	tb.Helper()
	j, err := wal.Open(wal.Config{Dir: tb.TempDir()}, wal.Position{Journal: [16]byte{1}, Generation: 1, Index: 1, Batch: 1})
	if err != nil {
		tb.Fatal(err)
	}
	l := newFakeLedger(nil)
	s, err := New(Config{}, Deps{Journal: OverJournal(j), Store: &fakeStore{}, Pending: l, Settlement: l, Lanes: l})
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(tb.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, listener) }()
	tb.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
		if err := j.Close(); err != nil {
			tb.Error(err)
		}
	})
	return j, func() pb.EngramServiceClient {
		conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = conn.Close() })
		return pb.NewEngramServiceClient(conn)
	}
}

// stream sends n observations and receives their acks, with no more than window of them on the way.
func pump(ctx context.Context, client pb.EngramServiceClient, n, window int, e *pb.Episode) (id string, err error) {
	stream, err := client.ObserveStream(ctx)
	if err != nil {
		return "", err
	}
	if err := stream.Send(initOf("")); err != nil {
		return "", err
	}
	first, err := stream.Recv()
	if err != nil {
		return "", err
	}
	credit := make(chan struct{}, window)
	go func() {
		for seq := range n {
			credit <- struct{}{}
			if stream.Send(observationOf(uint64(seq)+1, e)) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	for want := uint64(1); want <= uint64(n); want++ {
		res, err := stream.Recv()
		if err != nil {
			return "", err
		}
		if res.GetAck() == nil || res.GetSequenceNumber() != want {
			return "", fmt.Errorf("want the ack of %d, got %v", want, res)
		}
		<-credit
	}
	_, _ = stream.Recv()
	return first.GetSessionId(), nil
}

func TestOverTheJournalOnDisk(t *testing.T) {
	j, dial := onDisk(t)
	client := dial()
	const streams, each = 4, 300
	ids := make([]string, streams)
	var all sync.WaitGroup
	for i := range streams {
		all.Go(func() {
			var err error
			if ids[i], err = pump(t.Context(), client, each, 64, episode("")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	next := map[string]uint64{}
	for index := uint64(1); index <= j.Durable(); index++ {
		if err := j.Read([]uint64{index}, func(r *wal.Record) error {
			if r.Kind != wal.KindWrite {
				return nil
			}
			id := r.Session.String()
			next[id]++
			if r.Sequence != next[id] || string(r.ID) != fmt.Sprintf("%s-%d", id, r.Sequence) {
				return fmt.Errorf("%s has %d with id %q where %d should be", id, r.Sequence, r.ID, next[id])
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		if next[id] != each {
			t.Errorf("session %s has %d records, want %d", id, next[id], each)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, streams := range []int{1, 16} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			_, dial := onDisk(b)
			client := dial()
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for range streams {
				all.Go(func() {
					if _, err := pump(b.Context(), client, b.N/streams+1, 1024, episode("")); err != nil {
						b.Error(err)
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "obs/s")
		})
	}
}
