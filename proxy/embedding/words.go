package embedding

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Marks around each word, so that the grams at its ends differ from those in its middle. No word contains them.
const (
	wordStart = 0x02
	wordEnd   = 0x03
)

// class is what a character is to the words around it.
type class uint8

const (
	outside class = iota // parts words
	inside               // continues a word or begins one
	alone                // is a word by itself
	skipped              // is not there at all
)

// split fills folded and words. Words are runs of letters, digits and what belongs to them. A text that has none is taken
// for what it is between its spaces, so that one emoji differs from another.
func (w *work) split(s string) {
	if !isASCII(s) {
		// Compatibility forms become what they stand for, and accents characters of their own, which are skipped.
		s = norm.NFKD.String(s)
	}
	w.splitBy(s, ofWords)
	if len(w.words) == 0 {
		w.splitBy(s, ofSymbols)
	}
}

func (w *work) splitBy(s string, classOf func(rune) class) {
	start := -1
	end := func() {
		if start >= 0 {
			w.endWord(start)
		}
		start = -1
	}
	for _, r := range s {
		c := classOf(r)
		if c == skipped {
			continue
		}
		if c != inside {
			end()
		}
		if c == outside {
			continue
		}
		if start < 0 {
			start = len(w.folded)
			w.folded = append(w.folded, wordStart)
		}
		w.folded = utf8.AppendRune(w.folded, fold(r))
		if c == alone {
			end()
		}
	}
	end()
}

func (w *work) endWord(start int) {
	w.folded = append(w.folded, wordEnd)
	w.words = append(w.words, word{hash: hash(wordSeed, w.folded[start:]), start: start, end: len(w.folded)})
}

func ofWords(r rune) class {
	switch {
	case r < utf8.RuneSelf:
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return inside
		}
		return outside
	case 0x0300 <= r && r <= 0x036f:
		// The accents of Latin, Greek and Cyrillic, which many writers leave out. Marks of other scripts are vowels.
		return skipped
	case unicode.Is(unicode.Han, r):
		return alone
	case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
		return inside
	default:
		return outside
	}
}

func ofSymbols(r rune) class {
	if unicode.IsSpace(r) {
		return outside
	}
	return inside
}

// fold makes upper, lower and title case the same, and the odd ones too: both sigmas of Greek, the long s, the Kelvin sign.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	return unicode.ToLower(unicode.ToUpper(r))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
