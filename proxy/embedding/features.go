package embedding

import (
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// All constants in this file are frozen: vectors that are stored were made with them.

// What a word adds to a text in which it comes once: as a whole, and with all its grams together, as lengths in space. So
// another spelling can count for two thirds of the word itself, and no more. Chosen by looking fragments of sentences up
// among 4,000 paragraphs, as they stood, with a typo in each longer word, and inflected.
const (
	wordShare     = 1.0
	gramsShare    = 1.5
	functionShare = 0.5 // what is left of both for a function word

	unit = 1 << 20 // how many steps of the integer sums make 1
)

// Grams are pieces of a word, boundary marks included, of this many characters.
const (
	minGram = 3
	maxGram = 5
)

// Seeds keep a word, a gram of the same letters and the empty text apart: the hash of a word is that of the letter w and
// its marked bytes.
var (
	wordSeed = hash(fnvOffset, []byte("w"))
	gramSeed = hash(fnvOffset, []byte("g"))
	nothing  = hash(fnvOffset, nil)
)

// addWord adds a word and its grams, times a factor.
func (w *work) addWord(t word, factor float64) {
	marked := w.folded[t.start:t.end]
	if _, ok := functionWords[string(marked[1:len(marked)-1])]; ok {
		factor *= functionShare
	}
	w.add(t.hash, int64(factor*wordShare*unit))

	weight := int64(factor * gramsShare * unit / math.Sqrt(float64(gramsIn(marked))))
	for len(marked) > 0 {
		w.addGrams(marked, weight)
		_, size := utf8.DecodeRune(marked)
		marked = marked[size:]
	}
}

// addGrams adds the grams that begin where b does. A hash is carried on from one length to the next.
func (w *work) addGrams(b []byte, weight int64) {
	h := gramSeed
	for n := 1; n <= maxGram && len(b) > 0; n++ {
		_, size := utf8.DecodeRune(b)
		h = hash(h, b[:size])
		b = b[size:]
		if n >= minGram {
			w.add(h, weight)
		}
	}
}

// gramsIn counts the grams of a marked word: 3 characters have one, 4 have three, 5 have six, n have 3n-9.
func gramsIn(marked []byte) int {
	characters, n := utf8.RuneCount(marked), 0
	for length := minGram; length <= maxGram; length++ {
		n += max(0, characters-length+1)
	}
	return n
}

// add puts a feature at the place and with the sign that its hash says. With signs, what features that share a place do to
// a dot product is noise around 0, and no bias.
func (w *work) add(h uint64, weight int64) {
	h = mix(h)
	place, _ := bits.Mul64(h, Dimensions)
	if h&1 == 0 {
		weight = -weight
	}
	w.sums[place] += weight
}

// The parameters of 64-bit FNV-1a.
const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x100000001b3
)

// hash carries a 64-bit FNV-1a on over b.
func hash(h uint64, b []byte) uint64 {
	for _, c := range b {
		h = (h ^ uint64(c)) * fnvPrime
	}
	return h
}

// mix spreads a hash over all its bits, of which FNV leaves the upper ones alike for short words. It is the finaliser of
// MurmurHash3.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// functionWords say next to nothing of what a text is about. Apostrophes part words, so "don't" comes as "don" and "t".
var functionWords = func() map[string]struct{} {
	const list = `a about after all also am an and any are aren as at be because been before being both but by can could
		couldn d did didn do does doesn doing don down each few for from had hadn has hasn have haven having he her here hers
		him his how i if in into is isn it its just ll m me more most my no nor not now of off on once only or other our ours
		out over own re s same shall she should shouldn so some such t than that the their theirs them then there these they
		this those through to too under until up upon us ve very was wasn we were weren what when where which while who whom
		why will with won would wouldn you your yours`
	words := make(map[string]struct{})
	for _, word := range strings.Fields(list) {
		words[word] = struct{}{}
	}
	return words
}()
