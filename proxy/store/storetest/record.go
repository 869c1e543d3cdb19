package storetest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Record returns a write as the journal would hand it over: its payload is a message of the form, with id, text and vector,
// as every encoder of the protocol would write it. The same arguments always give the same bytes.
func Record(form wal.Form, index uint64, space, id, text string, vector []float32) wal.Record {
	return RecordIn(Scene{}, form, index, space, id, text, vector)
}

// field appends a field of bytes, unless it is empty.
func field[T string | []byte](dst []byte, number uint64, value T) []byte {
	if len(value) == 0 {
		return dst
	}
	const lengthDelimited = 2
	dst = binary.AppendUvarint(dst, number<<3|lengthDelimited)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

func packed(vector []float32) []byte {
	b := make([]byte, 0, 4*len(vector))
	for _, v := range vector {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// Vector returns a vector with a direction that a seed decides, of any length but not zero.
func Vector(seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 768))
	length := 0.25 + 4*r.Float32()
	v := make([]float32, store.Dimensions)
	for i := range v {
		v[i] = length * (r.Float32() - 0.5)
	}
	return v
}

// next returns an episode with the next index.
func (s *subject) next(space, id, text string) wal.Record {
	s.index++
	return Record(wal.FormEpisode, s.index, space, id, text, Vector(s.index))
}
