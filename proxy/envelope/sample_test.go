package envelope

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// vectorOf makes an embedding, the same one for the same seed.
func vectorOf(seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 768))
	v := make([]float32, Dimensions)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

func sampleEpisode() *engramv1.Episode {
	return &engramv1.Episode{
		Id:                 "ep-1",
		When:               &timestamppb.Timestamp{Seconds: 1_700_000_000, Nanos: 5},
		What:               "the kettle boiled over while nobody was in the kitchen",
		Embedding:          vectorOf(1),
		EncodingConfidence: &engramv1.Confidence{Value: 0.75, Reasoning: "seen"},
		WhereLocation:      "kitchen",
		Who:                []string{"ann", "bob"},
	}
}

func sampleMemory() *engramv1.Memory {
	return &engramv1.Memory{
		Id:         "mem-1",
		Embedding:  vectorOf(2),
		Confidence: &engramv1.Confidence{Value: 0.5},
		CreatedAt:  &timestamppb.Timestamp{Seconds: 1_700_000_000},
		Content:    "water boils at 100 degrees",
		Metadata:   map[string]string{"source": "school"},
		Tags:       []string{"physics"},
	}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// with returns the sample episode's bytes after a change to it.
func with(t testing.TB, change func(*engramv1.Episode)) []byte {
	e := sampleEpisode()
	change(e)
	return marshal(t, e)
}

// bytesField and its kin write single fields, valid or not.
func bytesField(num protowire.Number, data ...byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), data)
}

func varintField(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func floatField(num protowire.Number, v float32) []byte {
	return protowire.AppendFixed32(protowire.AppendTag(nil, num, protowire.Fixed32Type), math.Float32bits(v))
}

// groups writes a group in a group, depth of them.
func groups(num protowire.Number, depth int) []byte {
	var b []byte
	for range depth {
		b = protowire.AppendTag(b, num, protowire.StartGroupType)
	}
	for range depth {
		b = protowire.AppendTag(b, num, protowire.EndGroupType)
	}
	return b
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// littleEndian returns the embedding as a packed field holds it.
func littleEndian(v []float32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}
