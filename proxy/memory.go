package proxy

import (
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// memoriesOf makes the memories that clients get of the messages that were stored. One that cannot be read is left out: it
// was judged before it was journaled, so only a store can have spoilt it.
func memoriesOf(hits []store.Hit) []*pb.Memory {
	memories := make([]*pb.Memory, 0, len(hits))
	for i := range hits {
		m, err := memoryOf(hits[i].Form, hits[i].Body)
		if err != nil || m == nil {
			continue
		}
		m.Id = hits[i].ID
		if hits[i].HasScore {
			m.Activation = hits[i].Score
		}
		memories = append(memories, m)
	}
	return memories
}

func memoryOf(form wal.Form, body []byte) (*pb.Memory, error) {
	switch form {
	case wal.FormEpisode:
		var e pb.Episode
		err := proto.Unmarshal(body, &e)
		return memoryOfEpisode(&e), err
	case wal.FormRemember:
		var r pb.RememberRequest
		err := proto.Unmarshal(body, &r)
		if m := r.GetMemory(); m != nil {
			return m, err
		}
		return memoryOfEpisode(r.GetEpisode()), err
	case wal.FormExperience:
		var x pb.ExperienceRequest
		err := proto.Unmarshal(body, &x)
		return memoryOfEpisode(x.GetEpisode()), err
	default: // store.FormMemory
		var m pb.Memory
		err := proto.Unmarshal(body, &m)
		return &m, err
	}
}

// memoryOfEpisode shows an episode as a memory. What a memory has no field for becomes its metadata.
func memoryOfEpisode(e *pb.Episode) *pb.Memory {
	if e == nil {
		return nil
	}
	m := &pb.Memory{
		Id: e.GetId(), Embedding: e.GetEmbedding(), Content: e.GetWhat(), Confidence: e.GetEncodingConfidence(),
		CreatedAt: e.GetWhen(), LastAccess: e.GetLastReplay(), DecayRate: e.GetDecayRate(),
		MemoryType: pb.MemoryType_MEMORY_TYPE_EPISODIC, Metadata: map[string]string{},
	}
	for key, value := range map[string]string{
		"where": e.GetWhereLocation(), "who": strings.Join(e.GetWho(), ", "), "why": e.GetWhy(), "how": e.GetHow(),
		"importance": numberText(e.GetImportance()), "emotional_valence": numberText(e.GetEmotionalValence()),
	} {
		if value != "" {
			m.Metadata[key] = value
		}
	}
	return m
}

func numberText(v float32) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(v), 'g', -1, 32)
}

// appendEmbedding appends the embedding of a stored message, where it can be read.
func appendEmbedding(dst []float32, form wal.Form, body []byte) ([]float32, bool) {
	var v envelope.Vector
	var err error
	switch form {
	case wal.FormEpisode:
		var e envelope.Episode
		err = envelope.ScanEpisode(body, &e)
		v = e.Embedding
	case wal.FormRemember:
		var r envelope.Remember
		err = envelope.ScanRemember(body, &r)
		v = r.Embedding
	case wal.FormExperience:
		var x envelope.Experience
		err = envelope.ScanExperience(body, &x)
		v = x.Embedding
	default: // store.FormMemory
		var m envelope.Memory
		err = envelope.ScanMemory(body, &m)
		v = m.Embedding
	}
	if err != nil || v.Len() != store.Dimensions {
		return dst, false
	}
	return v.AppendFloats(dst), true
}

// cosine is the cosine similarity of two vectors of the same length, 0 where one of them has none.
func cosine(a, b []float32) float32 {
	b = b[:len(a)]
	var dot, aa, bb float64
	for i, x := range a {
		y := b[i]
		dot += float64(x) * float64(y)
		aa += float64(x) * float64(x)
		bb += float64(y) * float64(y)
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return float32(dot / math.Sqrt(aa*bb))
}
