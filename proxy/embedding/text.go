package embedding

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// Dimensions is the length of every vector.
const Dimensions = 768

// Text returns the vector of s: 768 finite floats that together have unit length. It never fails; what is not UTF-8 in s
// counts as a symbol.
func Text(s string) []float32 {
	return AppendText(make([]float32, 0, Dimensions), s)
}

// AppendText appends the vector of s to dst.
func AppendText(dst []float32, s string) []float32 {
	w, _ := scratch.Get().(*work) // the pool holds nothing else
	defer scratch.Put(w)
	return w.appendText(dst, s)
}

// work is what one text needs on its way; its slices are used again for the next.
type work struct {
	folded []byte // the words, each between its boundary marks
	words  []word
	sums   [Dimensions]int64 // in units
}

// word is one occurrence of a word.
type word struct {
	hash       uint64
	start, end int // in folded, boundary marks included
}

var scratch = sync.Pool{New: func() any { return new(work) }}

func (w *work) appendText(dst []float32, s string) []float32 {
	w.folded, w.words = w.folded[:0], w.words[:0]
	clear(w.sums[:])
	w.split(s)
	w.addWords()
	return w.appendUnit(dst)
}

// addWords adds each distinct word once, times the square root of its number: a word that comes nine times says more than
// one that comes once, but not nine times as much.
func (w *work) addWords() {
	slices.SortFunc(w.words, func(a, b word) int { return cmp.Compare(a.hash, b.hash) })
	for rest := w.words; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].hash == rest[0].hash {
			n++
		}
		w.addWord(rest[0], math.Sqrt(float64(n)))
		rest = rest[n:]
	}
}

// appendUnit appends the sums at unit length. Only operations that IEEE 754 defines to the last bit are used, and the
// conversion around each square keeps the compiler from fusing it with the addition, which would round once less.
func (w *work) appendUnit(dst []float32) []float32 {
	var square float64
	for _, v := range w.sums {
		square += float64(float64(v) * float64(v))
	}
	if square == 0 {
		// No words at all, or (hardly) features that cancelled each other out.
		w.add(nothing, unit)
		square = unit * unit
	}
	length := math.Sqrt(square)
	for _, v := range w.sums {
		dst = append(dst, float32(float64(v)/length))
	}
	return dst
}
