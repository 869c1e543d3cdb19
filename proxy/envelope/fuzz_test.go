package envelope

import (
	"errors"
	"testing"
	"unicode/utf8"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// The properties of the fuzz targets: no input panics; what a scan accepts, the generated decoder accepts, and both read the
// same. Inputs hold 3 KB of floats, which the fuzzer would spend its time on making shorter: run it with
// -fuzzminimizetime=10x.

// wantRefusal wants every refusal to be of a kind that callers can tell, and fit to be sent to a client.
func wantRefusal(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*FieldError](err); !ok && !errors.Is(err, ErrMalformed) {
		t.Fatalf("%v is neither a FieldError nor ErrMalformed", err)
	}
	if text := err.Error(); !utf8.ValidString(text) || len(text) > 400 {
		t.Fatalf("unfit message %q", text)
	}
}

func FuzzScanObservation(f *testing.F) {
	f.Add(bytesField(2, 0x10, 0x01))
	f.Add(join(bytesField(3, marshal(f, sampleEpisode())...), bytesField(10, 's'), varintField(11, 1)))
	f.Add(join(bytesField(5, 0x08, 0x01), bytesField(4, 0x08, 0x01)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var o Observation
		if err := ScanObservation(b, &o); err != nil {
			wantRefusal(t, err)
			return
		}
		if o.Op == OpObservation {
			var e Episode
			if err := ScanEpisode(o.Body, &e); err != nil {
				wantRefusal(t, err)
				return
			}
			agreeEpisode(t, o.Body, &e)
		}
		agreeObservation(t, b, &o)
	})
}

func FuzzScanEpisode(f *testing.F) {
	f.Add(marshal(f, sampleEpisode()))
	f.Add(join(bytesField(4, make([]byte, 4*767)...), floatField(4, 1), groups(90, 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Episode
		if err := ScanEpisode(b, &e); err != nil {
			wantRefusal(t, err)
			return
		}
		agreeEpisode(t, b, &e)
		extended := AppendEpisodeID(nil, b, "made")
		var again Episode
		if err := ScanEpisode(extended, &again); err != nil || string(again.ID) != "made" {
			t.Fatalf("with an id: %q, %v", again.ID, err)
		}
	})
}

func FuzzScanRemember(f *testing.F) {
	f.Add(bytesField(2, marshal(f, sampleMemory())...))
	f.Add(encodeRemember("garden", marshal(f, sampleEpisode())))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Remember
		if err := ScanRemember(b, &m); err != nil {
			wantRefusal(t, err)
			return
		}
		var want engramv1.RememberRequest
		unmarshal(t, b, &want)
		if string(m.Space) != want.GetMemorySpaceId() {
			t.Fatalf("space %q; decoded %q", m.Space, want.GetMemorySpaceId())
		}
		var memory Memory
		var episode Episode
		switch {
		case want.GetMemory() != nil && m.Kind == BodyMemory && ScanMemory(m.Body, &memory) == nil:
			agreeMemory(t, m.Body, &memory)
		case want.GetEpisode() != nil && m.Kind == BodyEpisode && ScanEpisode(m.Body, &episode) == nil:
			agreeEpisode(t, m.Body, &episode)
		default:
			t.Fatalf("%v; decoded %v", m.Kind, &want)
		}
		var again Remember
		if err := ScanRemember(WithRememberID(nil, &m, "made"), &again); err != nil || string(again.ID) != "made" {
			t.Fatalf("with an id: %q, %v", again.ID, err)
		}
	})
}
