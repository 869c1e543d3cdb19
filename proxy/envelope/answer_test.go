package envelope

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// wantResponse wants the canonical bytes of the message behind what stood in the buffer before.
func wantResponse(t rapid.TB, got []byte, want *engramv1.ObservationResponse) {
	t.Helper()
	got, ok := bytes.CutPrefix(got, []byte("before"))
	if !ok {
		t.Fatalf("what stood in the buffer is gone: %q", got)
	}
	var m engramv1.ObservationResponse
	if err := proto.Unmarshal(got, &m); err != nil {
		t.Fatalf("unmarshal: %v", err)
	}
	if !proto.Equal(&m, want) {
		t.Fatalf("got  %v\nwant %v", &m, want)
	}
	canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
	if err != nil || len(canonical) != len(got) {
		t.Fatalf("got %d bytes, the canonical encoding has %d (%v)", len(got), len(canonical), err)
	}
}

// randomInstant draws the zero time now and then, which stands for none.
func randomInstant() *rapid.Generator[time.Time] {
	return rapid.OneOf(rapid.Just(time.Time{}), rapid.Map(randomTime(), (*timestamppb.Timestamp).AsTime))
}

func wantTime(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

func randomHeader(t *rapid.T) (Header, *engramv1.ObservationResponse) {
	h := Header{
		Session:  randomText(200).Draw(t, "session"),
		Sequence: rapid.Uint64().Draw(t, "sequence"),
		Now:      randomInstant().Draw(t, "now"),
	}
	return h, &engramv1.ObservationResponse{
		SessionId: h.Session, SequenceNumber: h.Sequence, ServerTimestamp: wantTime(h.Now),
	}
}

func TestAppendAck(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, want := randomHeader(t)
		a := Ack{
			Status:      AckStatus(rapid.Int32Range(0, 3).Draw(t, "status")),
			MemoryID:    []byte(randomText(MaxID).Draw(t, "id")),
			CommittedAt: randomInstant().Draw(t, "committed at"),
		}
		want.Result = &engramv1.ObservationResponse_Ack{Ack: &engramv1.ObservationAck{
			Status: engramv1.ObservationAck_Status(a.Status), MemoryId: string(a.MemoryID), CommittedAt: wantTime(a.CommittedAt),
		}}
		wantResponse(t, AppendAck([]byte("before"), h, a), want)
	})
}

func TestAppendStatus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, want := randomHeader(t)
		s := Status{
			State:         State(rapid.Int32Range(0, 6).Draw(t, "state")),
			Message:       randomText(20_000).Draw(t, "message"),
			QueueDepth:    rapid.Uint32().Draw(t, "depth"),
			QueueCapacity: rapid.Uint32().Draw(t, "capacity"),
			Pressure:      rapid.Float32().Draw(t, "pressure"),
		}
		want.Result = &engramv1.ObservationResponse_Status{Status: &engramv1.StreamStatus{
			State: engramv1.StreamStatus_State(s.State), Message: s.Message, QueueDepth: s.QueueDepth,
			QueueCapacity: s.QueueCapacity, Pressure: s.Pressure,
		}}
		wantResponse(t, AppendStatus([]byte("before"), h, s), want)
	})
}

func TestAppendInitAck(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, want := randomHeader(t)
		c := Capabilities{
			MaxObservationsPerSecond:  rapid.Uint32().Draw(t, "rate"),
			QueueCapacity:             rapid.Uint32().Draw(t, "capacity"),
			SupportsBackpressure:      rapid.Bool().Draw(t, "backpressure"),
			SupportsSnapshotIsolation: rapid.Bool().Draw(t, "isolation"),
		}
		initial := rapid.Uint64().Draw(t, "initial")
		want.Result = &engramv1.ObservationResponse_InitAck{InitAck: &engramv1.StreamInitAck{
			SessionId: h.Session, InitialSequence: initial, Capabilities: &engramv1.StreamCapabilities{
				MaxObservationsPerSecond: c.MaxObservationsPerSecond, QueueCapacity: c.QueueCapacity,
				SupportsBackpressure: c.SupportsBackpressure, SupportsSnapshotIsolation: c.SupportsSnapshotIsolation,
			},
		}}
		wantResponse(t, AppendInitAck([]byte("before"), h, InitAck{InitialSequence: initial, Capabilities: c}), want)
	})
}

// TestLongStatus makes the length of the embedded message one to three bytes long.
func TestLongStatus(t *testing.T) {
	for _, n := range []int{1, 122, 123, 124, 125, 126, 127, 128, 129, 16_379, 16_380, 16_381, 100_000} {
		message := strings.Repeat("m", n)
		want := &engramv1.ObservationResponse{Result: &engramv1.ObservationResponse_Status{
			Status: &engramv1.StreamStatus{State: engramv1.StreamStatus_STATE_ERROR, Message: message},
		}}
		wantResponse(t, AppendStatus([]byte("before"), Header{}, Status{State: StateError, Message: message}), want)
	}
}

// TestStatusIsAlwaysUTF8: a response that a client cannot decode would end its stream.
func TestStatusIsAlwaysUTF8(t *testing.T) {
	var m engramv1.ObservationResponse
	if err := proto.Unmarshal(AppendStatus(nil, Header{}, Status{Message: "bad \xff\xfe text"}), &m); err != nil {
		t.Fatal(err)
	}
	if got := m.GetStatus().GetMessage(); got != "bad \uFFFD text" {
		t.Errorf("got %q", got)
	}
}

func TestAnswersDoNotAllocate(t *testing.T) {
	h := Header{Session: "0d9a1dd0-5f4e-4f2c-8d6d-6a4d0c1e1b11", Sequence: 1 << 40, Now: time.Unix(1_700_000_000, 7)}
	id := bytes.Repeat([]byte{'i'}, 200)
	buffer := make([]byte, 0, 1024)
	n := testing.AllocsPerRun(100, func() {
		buffer = AppendAck(buffer[:0], h, Ack{Status: AckAccepted, MemoryID: id, CommittedAt: h.Now})
		buffer = AppendStatus(buffer[:0], h, Status{State: StateBackpressure, Message: "slow down", Pressure: 0.9})
	})
	if n != 0 {
		t.Errorf("%v allocations for two answers, want none", n)
	}
}
