package envelope

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

func benchObservation(b *testing.B) []byte {
	return marshal(b, &engramv1.ObservationRequest{
		SessionId: "0d9a1dd0-5f4e-4f2c-8d6d-6a4d0c1e1b11", SequenceNumber: 123456,
		Operation: &engramv1.ObservationRequest_Observation{Observation: sampleEpisode()},
	})
}

// BenchmarkScanObservation is what the edge does to each observation: both layers, 768 packed floats.
func BenchmarkScanObservation(b *testing.B) {
	request := benchObservation(b)
	b.SetBytes(int64(len(request)))
	b.ReportAllocs()
	var o Observation
	var e Episode
	for b.Loop() {
		if ScanObservation(request, &o) != nil || ScanEpisode(o.Body, &e) != nil {
			b.Fatal("refused")
		}
	}
}

// BenchmarkUnmarshal is what the generated decoder takes for the same, without judging any of it.
func BenchmarkUnmarshal(b *testing.B) {
	request := benchObservation(b)
	b.SetBytes(int64(len(request)))
	b.ReportAllocs()
	for b.Loop() {
		var m engramv1.ObservationRequest
		if err := proto.Unmarshal(request, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendFloats(b *testing.B) {
	episode := marshal(b, sampleEpisode())
	var e Episode
	if err := ScanEpisode(episode, &e); err != nil {
		b.Fatal(err)
	}
	var floats []float32
	b.ReportAllocs()
	for b.Loop() {
		floats = e.Embedding.AppendFloats(floats[:0])
	}
}

func BenchmarkAppendAck(b *testing.B) {
	now := time.Unix(1_700_000_000, 123_456_789)
	h := Header{Session: "0d9a1dd0-5f4e-4f2c-8d6d-6a4d0c1e1b11", Sequence: 123456, Now: now}
	a := Ack{Status: AckAccepted, MemoryID: []byte("0d9a1dd0-5f4e-4f2c-8d6d-6a4d0c1e1b11-123456"), CommittedAt: now}
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer = AppendAck(buffer[:0], h, a)
	}
}
