package proxy

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestMemoriesOfWhatIsStored(t *testing.T) {
	at := timestamppb.New(time.Unix(1_700_000_000, 0))
	ep := &pb.Episode{
		Id: "e", When: at, What: "rain", Embedding: []float32{1, 2}, EncodingConfidence: &pb.Confidence{Value: 0.5},
		WhereLocation: "Oslo", Who: []string{"Ada", "Bo"}, Why: "weather", How: "slowly", DecayRate: 0.1,
		EmotionalValence: -0.25, Importance: 0.75, LastReplay: at,
	}
	fromEpisode := &pb.Memory{
		Id: "e", CreatedAt: at, LastAccess: at, Content: "rain", Embedding: []float32{1, 2}, DecayRate: 0.1,
		Confidence: &pb.Confidence{Value: 0.5}, MemoryType: pb.MemoryType_MEMORY_TYPE_EPISODIC,
		Metadata: map[string]string{
			"where": "Oslo", "who": "Ada, Bo", "why": "weather", "how": "slowly", "importance": "0.75", "emotional_valence": "-0.25",
		},
	}
	memory := &pb.Memory{Id: "e", Content: "dry", Tags: []string{"x"}, Activation: 0.3}
	for _, row := range []struct {
		name string
		form wal.Form
		body proto.Message
		want *pb.Memory
	}{
		{"episode", wal.FormEpisode, ep, fromEpisode},
		{"experience", wal.FormExperience, &pb.ExperienceRequest{Episode: ep}, fromEpisode},
		{"remembered episode", wal.FormRemember, &pb.RememberRequest{MemoryType: &pb.RememberRequest_Episode{Episode: ep}}, fromEpisode},
		{"remembered memory", wal.FormRemember, &pb.RememberRequest{MemoryType: &pb.RememberRequest_Memory{Memory: memory}}, memory},
		{"memory", store.FormMemory, memory, memory},
		{"remembered nothing", wal.FormRemember, &pb.RememberRequest{}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			body, err := proto.Marshal(row.body)
			if err != nil {
				t.Fatal(err)
			}
			got := memoriesOf([]store.Hit{{ID: "e", Form: row.form, Body: body}, {ID: "bad", Form: row.form, Body: []byte{0xff}}})
			var want []*pb.Memory
			if row.want != nil {
				want = append(want, row.want)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" && len(want)+len(got) > 0 {
				t.Error(diff)
			}
		})
	}
}

func TestAppendEmbedding(t *testing.T) {
	for form, m := range map[wal.Form]proto.Message{
		wal.FormEpisode:    episode("a"),
		wal.FormRemember:   rememberOf("", "a"),
		wal.FormExperience: &pb.ExperienceRequest{Episode: episode("a")},
		store.FormMemory:   rememberOf("", "a").GetMemory(),
	} {
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := appendEmbedding(nil, form, body); !ok || len(v) != 768 || v[0] != 0.001 {
			t.Errorf("%v: %d floats, %v", form, len(v), ok)
		}
		if _, ok := appendEmbedding(nil, form, []byte{0xff}); ok {
			t.Errorf("%v: read from rubbish", form)
		}
	}
}

func TestCosine(t *testing.T) {
	for _, row := range []struct {
		a, b []float32
		want float64
	}{
		{[]float32{1, 0}, []float32{5, 0}, 1},
		{[]float32{1, 0}, []float32{0, 5}, 0},
		{[]float32{1, 0}, []float32{-2, 0}, -1},
		{[]float32{1, 1}, []float32{1, 0}, math.Sqrt2 / 2},
		{[]float32{0, 0}, []float32{1, 0}, 0},
		{[]float32{1e30, 0}, []float32{1e30, 0}, 1},
	} {
		if got := float64(cosine(row.a, row.b)); math.Abs(got-row.want) > 1e-6 {
			t.Errorf("cosine of %v and %v is %v, want %v", row.a, row.b, got, row.want)
		}
	}
}
