package envelope

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// Each of the agree functions compares what a scan has accepted with what the generated decoder reads out of the same bytes.

func agreeEpisode(t rapid.TB, b []byte, e *Episode) {
	t.Helper()
	var m engramv1.Episode
	unmarshal(t, b, &m)
	switch {
	case string(e.ID) != m.GetId() || string(e.What) != m.GetWhat():
		t.Fatalf("id %q, what %q; decoded %q, %q", e.ID, e.What, m.GetId(), m.GetWhat())
	case e.HasConfidence != (m.EncodingConfidence != nil) || e.Confidence != m.GetEncodingConfidence().GetValue():
		t.Fatalf("confidence %v %v; decoded %v", e.HasConfidence, e.Confidence, m.GetEncodingConfidence())
	}
	agreeTime(t, e.HasWhen, e.When, m.GetWhen())
	agreeVector(t, b, &e.Embedding, m.GetEmbedding())
	if at := m.GetLastReplay(); at != nil && at.CheckValid() != nil {
		t.Fatalf("last_replay %v was taken", at)
	}
}

func agreeMemory(t rapid.TB, b []byte, got *Memory) {
	t.Helper()
	var m engramv1.Memory
	unmarshal(t, b, &m)
	switch {
	case string(got.ID) != m.GetId() || string(got.Content) != m.GetContent():
		t.Fatalf("id %q, content %q; decoded %q, %q", got.ID, got.Content, m.GetId(), m.GetContent())
	case got.HasConfidence != (m.Confidence != nil) || got.Confidence != m.GetConfidence().GetValue():
		t.Fatalf("confidence %v %v; decoded %v", got.HasConfidence, got.Confidence, m.GetConfidence())
	}
	agreeVector(t, b, &got.Embedding, m.GetEmbedding())
	for _, at := range []*timestamppb.Timestamp{m.GetCreatedAt(), m.GetLastAccess()} {
		if at != nil && at.CheckValid() != nil {
			t.Fatalf("%v was taken", at)
		}
	}
}

func agreeTime(t rapid.TB, has bool, at Timestamp, want *timestamppb.Timestamp) {
	t.Helper()
	if has != (want != nil) || at.Seconds != want.GetSeconds() || at.Nanos != want.GetNanos() {
		t.Fatalf("when %v %v; decoded %v", has, at, want)
	}
	if has && want.CheckValid() != nil {
		t.Fatalf("%v was taken: %v", want, want.CheckValid())
	}
}

func agreeVector(t rapid.TB, message []byte, v *Vector, want []float32) {
	t.Helper()
	if len(want) != Dimensions || v.Len() != Dimensions || !slices.Equal(v.AppendFloats(nil), want) {
		t.Fatalf("%d floats; decoded %d others", v.Len(), len(want))
	}
	for i, x := range want {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			t.Fatalf("embedding[%d] = %v was taken", i, x)
		}
	}
	if b, offset, ok := v.Packed(); ok && (!bytes.Equal(b, littleEndian(want)) || !bytes.Equal(message[offset:offset+len(b)], b)) {
		t.Fatalf("Packed is not the embedding's bytes at offset %d", offset)
	}
}

func agreeObservation(t rapid.TB, b []byte, o *Observation) {
	t.Helper()
	var m engramv1.ObservationRequest
	unmarshal(t, b, &m)
	if string(o.Space) != m.GetMemorySpaceId() || string(o.Session) != m.GetSessionId() || o.Sequence != m.GetSequenceNumber() {
		t.Fatalf("%q %q %d; decoded %v", o.Space, o.Session, o.Sequence, &m)
	}
	var op Op
	switch m.GetOperation().(type) {
	case *engramv1.ObservationRequest_Init:
		op = OpInit
	case *engramv1.ObservationRequest_Observation:
		op = OpObservation
	case *engramv1.ObservationRequest_Flow:
		op = OpFlow
	case *engramv1.ObservationRequest_Close:
		op = OpClose
	}
	in, flow, end := m.GetInit(), m.GetFlow(), m.GetClose()
	switch {
	case o.Op != op:
		t.Fatalf("%v; decoded %v", o.Op, op)
	case o.Init != Init{in.GetClientBufferSize(), in.GetEnableBackpressure(), in.GetMaxBatchSize()}:
		t.Fatalf("%+v; decoded %v", o.Init, in)
	case int32(o.Flow.Action) != int32(flow.GetAction()) || o.Flow.BufferRemaining != flow.GetBufferRemaining(),
		math.Float32bits(o.Flow.PreferredRate) != math.Float32bits(flow.GetPreferredRate()), string(o.Flow.Reason) != flow.GetReason():
		t.Fatalf("%+v; decoded %v", o.Flow, flow)
	case o.Close != Close{end.GetDrainQueue(), end.GetLastSequence()}:
		t.Fatalf("%+v; decoded %v", o.Close, end)
	}
}

func mustMarshal(t rapid.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEpisodesAgreeWithTheDecoder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := scramble(t, mustMarshal(t, randomEpisode().Draw(t, "episode")), &episodeRules)
		var e Episode
		if err := ScanEpisode(b, &e); err != nil {
			t.Fatal(err)
		}
		agreeEpisode(t, b, &e)
	})
}

func TestMemoriesAgreeWithTheDecoder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := scramble(t, mustMarshal(t, randomMemory().Draw(t, "memory")), &memoryRules)
		var m Memory
		if err := ScanMemory(b, &m); err != nil {
			t.Fatal(err)
		}
		agreeMemory(t, b, &m)
	})
}

func TestObservationsAgreeWithTheDecoder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &engramv1.ObservationRequest{
			MemorySpaceId:  randomText(80).Draw(t, "space"),
			SessionId:      randomText(80).Draw(t, "session"),
			SequenceNumber: rapid.Uint64().Draw(t, "sequence"),
		}
		small := func(body proto.Message, known *rules) []byte { return scramble(t, mustMarshal(t, body), known) }
		var op []byte
		switch rapid.IntRange(0, 4).Draw(t, "operation") {
		case 1:
			op = bytesField(2, small(&engramv1.StreamInit{
				ClientBufferSize:   rapid.Uint32().Draw(t, "size"),
				EnableBackpressure: rapid.Bool().Draw(t, "backpressure"),
				MaxBatchSize:       rapid.Uint32().Draw(t, "batch"),
			}, &initRules)...)
		case 2:
			op = bytesField(3, small(randomEpisode().Draw(t, "episode"), &episodeRules)...)
		case 3:
			op = bytesField(4, small(&engramv1.FlowControl{
				Action:          engramv1.FlowControl_Action(rapid.Int32().Draw(t, "action")),
				BufferRemaining: rapid.Int32().Draw(t, "remaining"),
				PreferredRate:   rapid.Float32().Draw(t, "rate"),
				Reason:          randomText(30).Draw(t, "reason"),
			}, &flowRules)...)
		case 4:
			op = bytesField(5, small(&engramv1.StreamClose{
				DrainQueue: rapid.Bool().Draw(t, "drain"), LastSequence: rapid.Uint64().Draw(t, "last"),
			}, &closeRules)...)
		}
		b := scramble(t, join(mustMarshal(t, m), op), &observationRules)
		var o Observation
		if err := ScanObservation(b, &o); err != nil {
			t.Fatal(err)
		}
		agreeObservation(t, b, &o)
	})
}
