package envelope

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

func wantFloats(t *testing.T, v *Vector, want []float32) {
	t.Helper()
	if got := v.AppendFloats([]float32{7}); got[0] != 7 || !slices.Equal(got[1:], want) {
		t.Errorf("got %d floats, %v...; want %d, %v...", len(got)-1, got[1:3], len(want), want[:2])
	}
}

func TestVectorIsReadInEveryLayout(t *testing.T) {
	want := vectorOf(9)
	packed := littleEndian(want)
	var single [][]byte
	for _, v := range want {
		single = append(single, floatField(4, v))
	}
	cases := []struct {
		name   string
		b      []byte
		offset int // -1: not in one piece
	}{
		{"one chunk", bytesField(4, packed...), 3},
		{"one chunk at an odd offset", join(bytesField(3, 'a', 'b'), bytesField(4, packed...)), 7},
		{"one chunk between empty ones", join(bytesField(4), bytesField(4, packed...), bytesField(4)), 5},
		{"two chunks", join(bytesField(4, packed[:400]...), bytesField(4, packed[400:]...)), -1},
		{"unpacked", join(single...), -1},
		{"both", join(bytesField(4, packed[:4*767]...), single[767]), -1},
		{"both, apart", join(single[0], bytesField(3, 'x'), bytesField(4, packed[4:]...)), -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var e Episode
			if err := ScanEpisode(c.b, &e); err != nil {
				t.Fatal(err)
			}
			wantFloats(t, &e.Embedding, want)
			b, offset, ok := e.Embedding.Packed()
			if ok != (c.offset >= 0) || (ok && (offset != c.offset || !bytes.Equal(b, packed))) {
				t.Errorf("Packed: %d bytes at %d, %v; want them at %d", len(b), offset, ok, c.offset)
			}
		})
	}
}

// TestAllFinite puts each special value at each place of chunks of each length.
func TestAllFinite(t *testing.T) {
	bad := []uint32{0x7f800000, 0xff800000, 0x7f800001, 0x7fc00000, 0xffffffff, 0x7fffffff}
	good := []uint32{0, 0x80000000, 0x7f7fffff, 0xff7fffff, 0x007fffff, 0x00000001, 0x3f800000}
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 40 {
		v := make([]float32, n)
		for i := range v {
			v[i] = math.Float32frombits(good[rng.IntN(len(good))])
		}
		if !allFinite(littleEndian(v)) {
			t.Fatalf("%d finite floats are refused: %v", n, v)
		}
		for i := range v {
			for _, bits := range bad {
				b := littleEndian(v)
				copy(b[4*i:], littleEndian([]float32{math.Float32frombits(bits)}))
				if allFinite(b) {
					t.Fatalf("%08x at %d of %d is taken", bits, i, n)
				}
			}
		}
	}
}

func TestScansDoNotAllocate(t *testing.T) {
	b := marshal(t, &engramv1.ObservationRequest{
		MemorySpaceId: "garden", SessionId: "0d9a1dd0-5f4e-4f2c-8d6d-6a4d0c1e1b11", SequenceNumber: 123456,
		Operation: &engramv1.ObservationRequest_Observation{Observation: sampleEpisode()},
	})
	b = append(b, groups(77, 3)...)
	remember := bytesField(2, marshal(t, sampleMemory())...)
	floats := make([]float32, 0, Dimensions)
	var o Observation
	var e Episode
	var m Remember
	n := testing.AllocsPerRun(100, func() {
		if ScanObservation(b, &o) != nil || ScanEpisode(o.Body, &e) != nil || ScanRemember(remember, &m) != nil {
			t.Error("refused")
		}
		floats = e.Embedding.AppendFloats(floats[:0])
	})
	if n != 0 {
		t.Errorf("%v allocations for a scan, want none", n)
	}
}
