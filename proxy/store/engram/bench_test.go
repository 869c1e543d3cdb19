package engram

import (
	"net"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// BenchmarkPut delivers batches of as many records as the store asks for to a server in this process, over loopback, which
// answers and does nothing else. Its cpu/record counts both sides.
func BenchmarkPut(b *testing.B) {
	s := openBench(b)
	batch := make([]wal.Record, s.Capabilities().BatchItems)
	for i := range batch {
		batch[i] = record(b, byte(1+i%8), uint64(i+1))
	}
	before := processorTime(b)
	for b.Loop() {
		for _, err := range s.Put(b.Context(), batch) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	records := float64(b.N * len(batch))
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/records, "cpu-ns/record")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/records, "ns/record")
}

func openBench(b *testing.B) *Store {
	b.Helper()
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	answer := raw(respond(&engramv1.RememberResponse{MemoryId: "m-1"}))
	server := grpc.NewServer(grpc.ForceServerCodecV2(codec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		for {
			if err := stream.RecvMsg((*raw)(nil)); err != nil {
				return status.Error(codes.Canceled, err.Error())
			}
			if err := stream.SendMsg(answer); err != nil {
				return err
			}
		}
	}))
	go func() { _ = server.Serve(l) }() // ends with Stop
	b.Cleanup(server.Stop)
	s, err := Open(Config{Address: l.Addr().String()}, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
