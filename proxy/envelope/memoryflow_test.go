package envelope

import (
	"errors"
	"math"
	"strings"
	"testing"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

func TestScanMemoryFlowTellsTheRequest(t *testing.T) {
	remember := &engramv1.RememberRequest{MemorySpaceId: "garden", MemoryType: &engramv1.RememberRequest_Episode{Episode: sampleEpisode()}}
	recall := &engramv1.RecallRequest{MaxResults: 7}
	subscription := &engramv1.StreamSubscription{BufferSize: 9}
	control := &engramv1.FlowControl{Action: engramv1.FlowControl_ACTION_SLOW_DOWN, PreferredRate: 2.5}
	for ask, request := range map[Ask]*engramv1.MemoryFlowRequest{
		AskNone:      {},
		AskRemember:  {Request: &engramv1.MemoryFlowRequest_Remember{Remember: remember}},
		AskRecall:    {Request: &engramv1.MemoryFlowRequest_Recall{Recall: recall}},
		AskSubscribe: {Request: &engramv1.MemoryFlowRequest_Subscribe{Subscribe: subscription}},
		AskControl:   {Request: &engramv1.MemoryFlowRequest_Control{Control: control}},
	} {
		t.Run(ask.String(), func(t *testing.T) {
			request.MemorySpaceId, request.SessionId, request.SequenceNumber = "garden", "s-1", -42
			var m MemoryFlow
			if err := ScanMemoryFlow(marshal(t, request), &m); err != nil {
				t.Fatal(err)
			}
			if m.Ask != ask || string(m.Space) != "garden" || string(m.Session) != "s-1" || m.Sequence != -42 {
				t.Errorf("got %+v", m)
			}
			agreeMemoryFlow(t, marshal(t, request), &m)
		})
	}
}

func agreeMemoryFlow(t *testing.T, b []byte, m *MemoryFlow) {
	t.Helper()
	var want engramv1.MemoryFlowRequest
	unmarshal(t, b, &want)
	bodies := map[Ask][]byte{AskNone: nil}
	switch r := want.GetRequest().(type) {
	case *engramv1.MemoryFlowRequest_Remember:
		bodies[AskRemember] = marshal(t, r.Remember)
	case *engramv1.MemoryFlowRequest_Recall:
		bodies[AskRecall] = marshal(t, r.Recall)
	case *engramv1.MemoryFlowRequest_Subscribe:
		bodies[AskSubscribe] = marshal(t, r.Subscribe)
	case *engramv1.MemoryFlowRequest_Control:
		bodies[AskControl] = marshal(t, r.Control)
		if m.Control.Action != FlowAction(r.Control.GetAction()) || m.Control.BufferRemaining != r.Control.GetBufferRemaining() {
			t.Fatalf("control %+v; decoded %v", m.Control, r.Control)
		}
	}
	switch _, known := bodies[m.Ask]; {
	case !known || (m.Ask == AskNone) != (want.GetRequest() == nil):
		t.Fatalf("asked for %v; decoded %v", m.Ask, &want)
	case string(m.Space) != want.GetMemorySpaceId() || string(m.Session) != want.GetSessionId() || m.Sequence != want.GetSequenceNumber():
		t.Fatalf("got %+v; decoded %v", m, &want)
	}
}

func TestScanMemoryFlowRefuses(t *testing.T) {
	for name, row := range map[string]struct {
		request []byte
		says    string
		whole   bool // the outer layer could be read
	}{
		"two requests":      {join(bytesField(2), bytesField(3), varintField(11, 5)), "request: expected one of remember, recall, subscribe, control, got remember and recall", true},
		"the same twice":    {join(bytesField(4), bytesField(4), varintField(11, 5)), "subscribe: expected it once, got it twice", true},
		"a session in junk": {join(bytesField(10, 0xff), varintField(11, 5)), "session_id: expected valid UTF-8", true},
		"a bad control":     {join(bytesField(5, 0x22, 1, 0xff), varintField(11, 5)), "control.reason: expected valid UTF-8", true},
		"cut short":         {[]byte{0x12, 9, 1}, "the data ends", false},
	} {
		t.Run(name, func(t *testing.T) {
			var m MemoryFlow
			err := ScanMemoryFlow(row.request, &m)
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Fatalf("got %v, want %q", err, row.says)
			}
			if errors.Is(err, ErrMalformed) == row.whole || row.whole && m.Sequence != 5 {
				t.Errorf("%v with %+v", err, m)
			}
		})
	}
}

func FuzzScanMemoryFlow(f *testing.F) {
	f.Add(join(bytesField(2, marshal(f, &engramv1.RememberRequest{AutoLink: true})...), bytesField(10, 's'), varintField(11, 1)))
	f.Add(join(bytesField(5, 0x08, 0x01), bytesField(4, 0x08, 0x01)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m MemoryFlow
		if err := ScanMemoryFlow(b, &m); err != nil {
			wantRefusal(t, err)
			return
		}
		if m.Ask == AskControl || m.Ask == AskNone { // of the others the body is judged later
			agreeMemoryFlow(t, b, &m)
		}
	})
}

func TestImportanceOf(t *testing.T) {
	for value, want := range map[float32]float32{0: 0, 0.25: 0.25, 1: 1, 7: 1, -3: 0, float32(math.Inf(1)): 1} {
		e := sampleEpisode()
		e.Importance = value
		remember := &engramv1.RememberRequest{MemoryType: &engramv1.RememberRequest_Episode{Episode: e}}
		for name, got := range map[string]float32{
			"episode":    ImportanceOf(marshal(t, e), 0),
			"remember":   ImportanceOf(marshal(t, remember), 3),
			"experience": ImportanceOf(marshal(t, &engramv1.ExperienceRequest{Episode: e}), 2),
		} {
			if got != want {
				t.Errorf("%s with importance %v: got %v, want %v", name, value, got, want)
			}
		}
	}
	e := sampleEpisode()
	e.Importance = float32(math.NaN())
	if got := ImportanceOf(marshal(t, e), 0); got != 0 {
		t.Errorf("not a number is read as %v", got)
	}
}
