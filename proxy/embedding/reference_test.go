package embedding

import (
	"hash/fnv"
	"math"
	"math/big"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// reference is the package comment once more, for texts of ASCII, in another way: strings and maps, and floats all along.
func reference(s string) []float64 {
	counts := map[string]int{}
	for _, w := range strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		counts[w]++
	}
	v := make([]float64, Dimensions)
	if len(counts) == 0 {
		put(v, "", 1)
	}
	for w, n := range counts {
		weight := math.Sqrt(float64(n))
		if _, ok := functionWords[w]; ok {
			weight /= 2
		}
		marked := "\x02" + w + "\x03"
		put(v, "w"+marked, weight)
		var grams []string
		for from := range marked {
			for to := from + 3; to <= min(from+5, len(marked)); to++ {
				grams = append(grams, "g"+marked[from:to])
			}
		}
		for _, g := range grams {
			put(v, g, weight*1.5/math.Sqrt(float64(len(grams))))
		}
	}
	var square float64
	for _, x := range v {
		square += x * x
	}
	for i := range v {
		v[i] /= math.Sqrt(square)
	}
	return v
}

func put(v []float64, feature string, weight float64) {
	f := fnv.New64a()
	f.Write([]byte(feature))
	h := f.Sum64()
	for _, factor := range []uint64{0xff51afd7ed558ccd, 0xc4ceb9fe1a85ec53} {
		h = (h ^ h>>33) * factor
	}
	h ^= h >> 33
	place := new(big.Int).Mul(new(big.Int).SetUint64(h), big.NewInt(Dimensions))
	if h%2 == 0 {
		weight = -weight
	}
	v[place.Rsh(place, 64).Int64()] += weight
}

func TestTextIsWhatTheDocumentationSays(t *testing.T) {
	words := rapid.SampledFrom([]string{"kettle", "Kettles", "boil", "the", "of", "a", "x1", "fish-and-chips", "don't", "B", "_", "!"})
	text := rapid.Map(rapid.SliceOfN(words, 0, 40), func(w []string) string { return strings.Join(w, " ") })
	ascii := rapid.StringOf(rapid.RuneFrom(nil, &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x20, Hi: 0x7e, Stride: 1}}}))
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(text, ascii).Draw(t, "text")
		if strings.TrimSpace(s) != "" && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			return // symbols alone: see TestSymbols
		}
		want := reference(s)
		for i, got := range Text(s) {
			if math.Abs(float64(got)-want[i]) > 1e-5 {
				t.Fatalf("%q at %d: got %v, want %v", s, i, got, want[i])
			}
		}
	})
}
