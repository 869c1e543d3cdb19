package engram

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// unknown is a field that this build does not know: an old sidecar must not take it from a newer client's message.
var unknown = []byte{0xfa, 0x7f, 0x03, 'n', 'e', 'w'}

// send puts one record and returns the request as the server got it, decoded and as bytes.
func send(t *testing.T, r wal.Record) (*engramv1.RememberRequest, []byte) {
	t.Helper()
	f := newFake(t)
	if errs := f.open(t, long).Put(t.Context(), []wal.Record{r}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	var got engramv1.RememberRequest
	if err := proto.Unmarshal(f.bytes[string(r.ID)], &got); err != nil {
		t.Fatal(err)
	}
	return &got, f.bytes[string(r.ID)]
}

func TestEpisodeTravelsVerbatim(t *testing.T) {
	r := record(t, 1, 7)
	r.Payload = append(bytes.Clone(r.Payload), unknown...)
	got, sent := send(t, r)
	if got.GetMemorySpaceId() != "work" {
		t.Errorf("space %q, want work", got.GetMemorySpaceId())
	}
	if !bytes.HasSuffix(sent, r.Payload) {
		t.Error("the episode's bytes have changed on the way")
	}
}

func TestRememberTravelsVerbatim(t *testing.T) {
	for name, row := range map[string]struct{ space, added string }{
		"with its space":    {"work", ""},
		"without any space": {"", "\x0a\x04work"},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := proto.Marshal(&engramv1.RememberRequest{
				MemorySpaceId: row.space, AutoLink: true, LinkThreshold: 0.5,
				MemoryType: &engramv1.RememberRequest_Memory{Memory: &engramv1.Memory{
					Id: "m", Content: "text", Embedding: make([]float32, 768),
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			request = append(request, unknown...)
			got, sent := send(t, wal.Record{Form: wal.FormRemember, Space: "work", ID: []byte("m"), Payload: request})
			if got.GetMemorySpaceId() != "work" || !got.GetAutoLink() || got.GetLinkThreshold() != 0.5 {
				t.Errorf("space %q, auto_link %v, link_threshold %v; want work, true, 0.5",
					got.GetMemorySpaceId(), got.GetAutoLink(), got.GetLinkThreshold())
			}
			if string(sent) != string(request)+row.added {
				t.Errorf("%d bytes sent, want the client's %d and %q behind them", len(sent), len(request), row.added)
			}
		})
	}
}

func TestExperienceTravelsAsItsEpisode(t *testing.T) {
	episode := record(t, 0, 7).Payload
	var e engramv1.Episode
	if err := proto.Unmarshal(episode, &e); err != nil {
		t.Fatal(err)
	}
	request, err := proto.Marshal(&engramv1.ExperienceRequest{Episode: &e, ImmediateConsolidation: true})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := send(t, wal.Record{Form: wal.FormExperience, Space: "work", ID: []byte("s0-7"), Payload: request})
	if got.GetMemorySpaceId() != "work" || !proto.Equal(got.GetEpisode(), &e) {
		t.Errorf("space %q and another episode than was given, want work and the same", got.GetMemorySpaceId())
	}
}

func TestCodecRefusesForeignMessages(t *testing.T) {
	if _, err := (codec{}).Marshal("text"); err == nil {
		t.Error("a string was taken as a message")
	}
	if err := (codec{}).Unmarshal(nil, new(string)); err == nil {
		t.Error("a string was taken as an answer")
	}
}

func BenchmarkEncodeEpisode(b *testing.B) {
	r := record(b, 1, 7)
	b.ReportAllocs()
	for b.Loop() {
		m, err := newMessage(&r)
		if err != nil {
			b.Fatal(err)
		}
		buffers := m.encode()
		buffers.Free()
	}
}
