package envelope

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

func TestScanObservationTellsTheOperation(t *testing.T) {
	episode := sampleEpisode()
	cases := []struct {
		op      Op
		request *engramv1.ObservationRequest
		check   func(o *Observation) bool
	}{
		{OpNone, &engramv1.ObservationRequest{}, func(o *Observation) bool { return o.Body == nil }},
		{
			OpInit, &engramv1.ObservationRequest{Operation: &engramv1.ObservationRequest_Init{Init: &engramv1.StreamInit{
				ClientBufferSize: 100, EnableBackpressure: true, MaxBatchSize: 1<<32 - 1,
			}}},
			func(o *Observation) bool { return o.Init == Init{100, true, 1<<32 - 1} },
		},
		{
			OpObservation, &engramv1.ObservationRequest{Operation: &engramv1.ObservationRequest_Observation{Observation: episode}},
			func(o *Observation) bool { return bytes.Equal(o.Body, marshal(t, episode)) },
		},
		{
			OpFlow, &engramv1.ObservationRequest{Operation: &engramv1.ObservationRequest_Flow{Flow: &engramv1.FlowControl{
				Action: engramv1.FlowControl_ACTION_SLOW_DOWN, BufferRemaining: -7, PreferredRate: 2.5, Reason: "busy",
			}}},
			func(o *Observation) bool {
				f := o.Flow
				return f.Action == FlowSlowDown && f.BufferRemaining == -7 && f.PreferredRate == 2.5 && string(f.Reason) == "busy"
			},
		},
		{
			OpClose, &engramv1.ObservationRequest{Operation: &engramv1.ObservationRequest_Close{Close: &engramv1.StreamClose{
				DrainQueue: true, LastSequence: 1<<64 - 1,
			}}},
			func(o *Observation) bool { return o.Close == Close{true, 1<<64 - 1} },
		},
	}
	for _, c := range cases {
		t.Run(c.op.String(), func(t *testing.T) {
			c.request.MemorySpaceId, c.request.SessionId, c.request.SequenceNumber = "garden", "s-1", 42
			var o Observation
			if err := ScanObservation(marshal(t, c.request), &o); err != nil {
				t.Fatal(err)
			}
			if o.Op != c.op || string(o.Space) != "garden" || string(o.Session) != "s-1" || o.Sequence != 42 || !c.check(&o) {
				t.Errorf("got %+v", o)
			}
		})
	}
}

// TestScanObservationRefusesInBand wants the refusal to come with all that an answer needs, wherever the fault stands.
func TestScanObservationRefusesInBand(t *testing.T) {
	cases := []struct {
		name string
		op   Op
		b    []byte
		want string
	}{
		{
			"two operations", OpObservation, join(bytesField(2), bytesField(3)),
			"operation: expected one of init, observation, flow, close, got init and observation",
		},
		{
			"three operations", OpFlow, join(bytesField(5), bytesField(3), bytesField(4)),
			"operation: expected one of init, observation, flow, close, got close and observation",
		},
		{"one operation twice", OpObservation, join(bytesField(3), bytesField(3)), "observation: expected it once, got it twice"},
		{
			"space not UTF-8", OpClose, join(bytesField(1, 0xff), bytesField(5)),
			"memory_space_id: expected valid UTF-8, got byte 0xff at offset 0",
		},
		{
			"an earlier space not UTF-8", OpNone, join(bytesField(1, 0xff), bytesField(1, 'a')),
			"memory_space_id: expected valid UTF-8, got byte 0xff at offset 0",
		},
		{"flow as a number", OpNone, varintField(4, 1), "flow: expected a run of bytes on the wire, got a varint"},
		{
			"a sequence as a double, too", OpNone, protowire.AppendFixed64(protowire.AppendTag(nil, 11, protowire.Fixed64Type), 9),
			"sequence_number: expected a varint on the wire, got 64 fixed bits",
		},
		{
			"init cut short", OpInit, bytesField(2, 0x08),
			"init: expected a well-formed message, got malformed bytes: the data ends in the field at byte 0",
		},
		{
			"flow with a bad reason", OpFlow, bytesField(4, bytesField(4, 0xff)...),
			"flow.reason: expected valid UTF-8, got byte 0xff at offset 0",
		},
		{
			"flow with a rate of text", OpFlow, bytesField(4, bytesField(3, 'x')...),
			"flow.preferred_rate: expected 32 fixed bits on the wire, got a run of bytes",
		},
		{
			"init with a size of text", OpInit, bytesField(2, bytesField(1, 'x')...),
			"init.client_buffer_size: expected a varint on the wire, got a run of bytes",
		},
		{
			"close with a float", OpClose, bytesField(5, floatField(2, 1)...),
			"close.last_sequence: expected a varint on the wire, got 32 fixed bits",
		},
	}
	rest := join(bytesField(10, 's', '-', '1'), varintField(11, 42))
	for _, c := range cases {
		for order, b := range map[string][]byte{"fault first": join(c.b, rest), "fault last": join(rest, c.b)} {
			t.Run(c.name+", "+order, func(t *testing.T) {
				var o Observation
				err := ScanObservation(b, &o)
				if _, ok := errors.AsType[*FieldError](err); !ok || err.Error() != c.want {
					t.Errorf("got  %v\nwant %s", err, c.want)
				}
				if o.Op != c.op || string(o.Session) != "s-1" || o.Sequence != 42 {
					t.Errorf("the envelope was lost: %+v", o)
				}
			})
		}
	}
}

func TestScanObservationRefusesWhatIsNoMessage(t *testing.T) {
	whole := join(bytesField(3, marshal(t, sampleEpisode())...), bytesField(10, 's'), varintField(11, 300))
	cases := [][]byte{
		whole[:len(whole)-1], whole[:1], whole[:100], join(whole, []byte{0x07}), join(bytesField(1, 0xff), []byte{0}),
	}
	for _, b := range cases {
		var o Observation
		err := ScanObservation(b, &o)
		if _, ok := errors.AsType[*FieldError](err); ok || !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: got %v, want ErrMalformed and no field", len(b), err)
		}
	}
}

// TestScanObservationLeavesTheEpisodeAlone: its faults must not hide the sequence.
func TestScanObservationLeavesTheEpisodeAlone(t *testing.T) {
	var o Observation
	if err := ScanObservation(join(varintField(11, 5), bytesField(3, 0xff)), &o); err != nil {
		t.Fatal(err)
	}
	var e Episode
	if err := ScanEpisode(o.Body, &e); !errors.Is(err, ErrMalformed) || o.Sequence != 5 {
		t.Errorf("sequence %d, episode: %v", o.Sequence, err)
	}
}

// TestFaultsDoNotPileUp: a message of nothing but faults must not cost more memory than its own.
func TestFaultsDoNotPileUp(t *testing.T) {
	b := bytes.Repeat(join(bytesField(2), bytesField(3), bytesField(1, 0xff)), 100_000)
	n := testing.AllocsPerRun(5, func() {
		var o Observation
		if err := ScanObservation(b, &o); err == nil || o.Op != OpObservation {
			t.Errorf("got %v, %v", o.Op, err)
		}
	})
	if n > 10 {
		t.Errorf("%v allocations for one refusal", n)
	}
}

func TestNames(t *testing.T) {
	got := []string{Op(9).String(), FlowAction(-1).String(), FlowAction(6).String(), BodyKind(9).String(), BodyNone.String()}
	want := []string{"operation 9", "action -1", "action 6", "body 9", "no body"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}
