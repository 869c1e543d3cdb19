package envelope

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// randomText draws text of several scripts, with everything that UTF-8 allows.
func randomText(limit int) *rapid.Generator[string] { return rapid.StringN(0, limit, limit) }

func randomConfidence() *rapid.Generator[*engramv1.Confidence] {
	return rapid.Custom(func(t *rapid.T) *engramv1.Confidence {
		return &engramv1.Confidence{
			Value:     rapid.Float32Range(0, 1).Draw(t, "value"),
			Category:  engramv1.ConfidenceCategory(rapid.Int32().Draw(t, "category")),
			Reasoning: randomText(20).Draw(t, "reasoning"),
		}
	})
}

func randomTime() *rapid.Generator[*timestamppb.Timestamp] {
	return rapid.Custom(func(t *rapid.T) *timestamppb.Timestamp {
		return &timestamppb.Timestamp{
			Seconds: rapid.Int64Range(minSeconds, maxSeconds).Draw(t, "seconds"),
			Nanos:   rapid.Int32Range(0, maxNanos).Draw(t, "nanos"),
		}
	})
}

func randomEpisode() *rapid.Generator[*engramv1.Episode] {
	return rapid.Custom(func(t *rapid.T) *engramv1.Episode {
		return &engramv1.Episode{
			Id:                 randomText(MaxID).Draw(t, "id"),
			When:               maybe(randomTime()).Draw(t, "when"),
			What:               randomText(200).Draw(t, "what"),
			Embedding:          vectorOf(rapid.Uint64().Draw(t, "seed")),
			EncodingConfidence: maybe(randomConfidence()).Draw(t, "confidence"),
			WhereLocation:      randomText(20).Draw(t, "where"),
			Who:                rapid.SliceOfN(randomText(10), 0, 3).Draw(t, "who"),
			Why:                randomText(20).Draw(t, "why"),
			How:                randomText(20).Draw(t, "how"),
			DecayRate:          rapid.Float32().Draw(t, "decay"),
			EmotionalValence:   rapid.Float32().Draw(t, "valence"),
			Importance:         rapid.Float32().Draw(t, "importance"),
			ConsolidationState: engramv1.ConsolidationState(rapid.Int32().Draw(t, "state")),
			LastReplay:         maybe(randomTime()).Draw(t, "replay"),
		}
	})
}

func randomMemory() *rapid.Generator[*engramv1.Memory] {
	return rapid.Custom(func(t *rapid.T) *engramv1.Memory {
		return &engramv1.Memory{
			Id:         randomText(MaxID).Draw(t, "id"),
			Embedding:  vectorOf(rapid.Uint64().Draw(t, "seed")),
			Activation: rapid.Float32().Draw(t, "activation"),
			Confidence: maybe(randomConfidence()).Draw(t, "confidence"),
			LastAccess: maybe(randomTime()).Draw(t, "last access"),
			CreatedAt:  maybe(randomTime()).Draw(t, "created at"),
			DecayRate:  rapid.Float32().Draw(t, "decay"),
			Content:    randomText(200).Draw(t, "content"),
			Metadata:   rapid.MapOfN(randomText(10), randomText(10), 0, 3).Draw(t, "metadata"),
			Tags:       rapid.SliceOfN(randomText(10), 0, 3).Draw(t, "tags"),
			MemoryType: engramv1.MemoryType(rapid.Int32().Draw(t, "type")),
		}
	})
}

// maybe draws nil or a message.
func maybe[T any](g *rapid.Generator[*T]) *rapid.Generator[*T] {
	return rapid.OneOf(rapid.Just[*T](nil), g)
}

// scramble writes the same message in another of the many ways in which encoders may: the embedding in several packed
// chunks and single floats, fields in any order, texts overridden by later ones, unknown fields in between.
func scramble(t *rapid.T, b []byte, known *rules) []byte {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "scramble"), 1))
	var parts [][]byte
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeField(b)
		_, _, tag := protowire.ConsumeTag(b)
		kind := unknown
		if int(num) < len(known) {
			kind = known[num].kind
		}
		switch {
		case kind == floats && typ == protowire.BytesType:
			packed, _ := protowire.ConsumeBytes(b[tag:n])
			parts = append(parts, chop(rng, num, packed)...)
		case kind == text && rng.IntN(4) == 0:
			parts = append(parts, b[:n], bytesField(num, []byte(randomText(20).Draw(t, "override"))...))
		default:
			parts = append(parts, b[:n])
		}
		b = b[n:]
	}
	for range rng.IntN(4) {
		parts = append(parts, strange(rng))
	}
	rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	return join(parts...)
}

// chop spreads packed floats over several fields.
func chop(rng *rand.Rand, num protowire.Number, packed []byte) (parts [][]byte) {
	for len(packed) > 0 {
		n := 4 * (rng.IntN(300) + 1)
		if n > len(packed) {
			n = len(packed)
		}
		if n == 4 || rng.IntN(8) == 0 {
			parts = append(parts, floatField(num, math.Float32frombits(binary.LittleEndian.Uint32(packed))))
			n = 4
		} else {
			parts = append(parts, bytesField(num, packed[:n]...))
		}
		packed = packed[n:]
	}
	return append(parts, bytesField(num))
}

// strange makes a field that no version of engram.v1 knows.
func strange(rng *rand.Rand) []byte {
	num := protowire.Number(40 + rng.IntN(10_000))
	switch rng.IntN(5) {
	case 0:
		return varintField(num, rng.Uint64())
	case 1:
		return bytesField(num, 0xff, 0xfe)
	case 2:
		return floatField(num, float32(math.NaN()))
	case 3:
		return protowire.AppendFixed64(protowire.AppendTag(nil, num, protowire.Fixed64Type), rng.Uint64())
	default:
		return groups(num, 1+rng.IntN(maxGroupDepth))
	}
}
