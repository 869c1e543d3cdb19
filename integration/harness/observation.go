package harness

import (
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// Dimensions is how long an embedding has to be.
const Dimensions = 768

// EpisodeOf makes the content of an observation: the same one each time it is asked for. Every other one brings an id of
// its own, the rest leave that to the sidecar.
func EpisodeOf(of Observation) *engramv1.Episode {
	h := fnv.New64a()
	_, _ = h.Write([]byte(of.Session)) // a hash takes everything
	r := rand.New(rand.NewPCG(h.Sum64(), of.Sequence))
	vector := make([]float32, Dimensions)
	for i := range vector {
		vector[i] = r.Float32() - 0.5
	}
	e := &engramv1.Episode{
		What: of.String(), WhereLocation: "integration", Embedding: vector, Importance: r.Float32(),
		EncodingConfidence: &engramv1.Confidence{Value: r.Float32()},
	}
	if of.Sequence%2 == 0 {
		e.Id = "own-" + strings.ReplaceAll(of.String(), "/", "-")
	}
	return e
}

// ObservationIn says which observation an episode holds, and its digest.
func ObservationIn(e *engramv1.Episode) (Observation, Digest, error) {
	session, sequence, ok := strings.Cut(e.GetWhat(), "/")
	n, err := strconv.ParseUint(sequence, 10, 64)
	if !ok || err != nil {
		return Observation{}, Digest{}, fmt.Errorf("what: expected session/sequence, got %q", e.GetWhat())
	}
	return Observation{session, n}, DigestOf(e), nil
}

// DigestOf is about all of an episode but its id. The episode must not be in use elsewhere.
func DigestOf(e *engramv1.Episode) Digest {
	id := e.GetId()
	e.Id = ""
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	e.Id = id
	if err != nil {
		panic(fmt.Sprintf("integration: an episode cannot be encoded: %v", err)) // it was decoded or made here
	}
	return sha256.Sum256(b)
}
