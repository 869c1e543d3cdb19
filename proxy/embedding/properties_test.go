package embedding

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func cosine(a, b string) float64 {
	var dot float64
	v := Text(b)
	for i, x := range Text(a) {
		dot += float64(x) * float64(v[i])
	}
	return dot
}

// anything draws texts of all scripts, and bytes that are no text at all.
func anything() *rapid.Generator[string] {
	bytes := rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
	return rapid.OneOf(rapid.String(), bytes)
}

func TestEveryVectorHasUnitLength(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anything().Draw(t, "text")
		v := Text(s)
		var square float64
		for _, x := range v {
			square += float64(x) * float64(x)
		}
		if len(v) != Dimensions || math.Abs(square-1) > 1e-5 { // NaN would be caught by the next test
			t.Fatalf("%q: %d floats of length %v", s, len(v), math.Sqrt(square))
		}
	})
}

func TestTheSameTextGivesTheSameVector(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, other := anything().Draw(t, "text"), anything().Draw(t, "other")
		want := Text(s)
		Text(other)
		got := AppendText([]float32{7}, s)
		if got[0] != 7 || !slices.Equal(got[1:], want) {
			t.Fatalf("%q: not the same vector after %q", s, other)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	want := Text(line)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				Text(strings.Repeat("noise ", i))
				if !slices.Equal(Text(line), want) {
					t.Error("another vector, computed beside others")
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestWhatDoesNotMatter: case, order, space, punctuation, and how accents are encoded.
func TestWhatDoesNotMatter(t *testing.T) {
	vocabulary := []string{"the", "Kettle", "boiled", "über", "Ёлка", "ΣΤΊΓΜΑΣ", "été", "한국어", "今天", "don't", "x86"}
	cases := []func(string) string{strings.ToUpper, strings.ToLower, strings.ToTitle, norm.NFC.String, norm.NFD.String}
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom(vocabulary), 1, 20).Draw(t, "words")
		want := Text(strings.Join(words, " "))
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		rng.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
		s := "  " + strings.Join(words, rapid.SampledFrom([]string{", ", "\t", " -- ", "...", "\u00a0", "🙂"}).Draw(t, "between")) + "!\n"
		s = rapid.SampledFrom(cases).Draw(t, "case")(s)
		if !slices.Equal(Text(s), want) {
			t.Fatalf("%q: another vector", s)
		}
	})
}

func TestFolding(t *testing.T) {
	same := [][2]string{
		{"café", "CAFE"},
		{"Ёлка", "елка"},
		{"στίγμας", "ΣΤΙΓΜΑΣ"},
		{"ﬁne", "fine"},
		{"Ｆｕｌｌ", "full"},
		{"\u212a", "k"},
		{"\u017fo", "so"},
		{"İstanbul", "istanbul"},
		{"x\u0301\u0302\u0303", "x"},
		{"今天", "天今"},
		{"ab今cd", "cd 今 ab"},
	}
	for _, c := range same {
		if got := cosine(c[0], c[1]); got < 0.9999 {
			t.Errorf("%q and %q: %.3f, want the same", c[0], c[1], got)
		}
	}
	different := [][2]string{{"नमस्ते", "नमसत"}, {"word", "w ord"}, {"a", "b"}, {"x1", "x2"}, {"غرفة ٣", "غرفة ٤"}, {"car", "automobile"}}
	for _, c := range different {
		if got := cosine(c[0], c[1]); got > 0.9 {
			t.Errorf("%q and %q: %.3f, want them apart", c[0], c[1], got)
		}
	}
}

func TestSymbols(t *testing.T) {
	if got := cosine("", " \t\n"); got < 0.9999 {
		t.Errorf("nothing and space: %.3f, want the same", got)
	}
	if got := cosine("🙂  🙃", "🙃\n🙂"); got < 0.9999 {
		t.Errorf("two emoji: %.3f, want the same", got)
	}
	for _, s := range []string{"🙂", "...", "\u00a0", "-"} {
		if got := cosine(s, "🙃"); got > 0.5 {
			t.Errorf("%q and another emoji: %.3f, want them apart", s, got)
		}
	}
	if got := cosine("kettle ...", "kettle"); got < 0.9999 {
		t.Errorf("symbols beside words: %.3f, want them to count for nothing", got)
	}
}

// TestNearness wants the first text nearer to the second than to the third.
func TestNearness(t *testing.T) {
	cases := []struct{ name, text, near, far string }{
		{"shared words", "the kettle boiled over", "a kettle that boiled", "the dog ran into the street"},
		{"inflection", "boiling kettles", "the kettle boiled", "the kitten balked"},
		{"typos", "ketle boild", "the kettle boiled", "the kitten balked"},
		{"more shared words", "red bicycle in the rain", "a red bicycle, wet with rain", "a red car"},
		{"function words count less", "where is the kettle", "a kettle of mine", "where is the fish"},
		{"the word before its spelling", "port", "port", "ports report sporting"},
		{"numbers", "error 4711 on host a12", "host a12: error 4711", "error 9905 on host b44"},
		{"not English", "la bouilloire a débordé", "les bouilloires débordent", "le chien dort"},
		{"ideographs", "今天天气很好", "今天天气不好", "我喜欢吃苹果"},
		{"part of a long text", "cat with the fish", line, strings.ReplaceAll(line, "cat ran off with the fish", "dog slept under a chair")},
	}
	for _, c := range cases {
		if near, far := cosine(c.text, c.near), cosine(c.text, c.far); near < far+0.05 {
			t.Errorf("%s: %q is at %.3f from %q and at %.3f from %q", c.name, c.text, near, c.near, far, c.far)
		}
	}
}

// TestRepetition: nine times the same word is nearer to that word, but does not drown the others.
func TestRepetition(t *testing.T) {
	once, often := cosine("cat fish", "cat"), cosine(strings.Repeat("cat ", 9)+"fish", "cat")
	if often < once+0.05 || often > 0.97 {
		t.Errorf("once %.3f, nine times %.3f", once, often)
	}
}

// TestUnrelatedTextsAreFarApart: the noise of sharing 768 places has no bias.
func TestUnrelatedTextsAreFarApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	text := func() string {
		var b strings.Builder
		for range 10 {
			for range 4 + rng.IntN(6) {
				b.WriteByte(byte('a' + rng.IntN(26)))
			}
			b.WriteByte(' ')
		}
		return b.String()
	}
	var sum, worst float64
	const pairs = 500
	for range pairs {
		c := cosine(text(), text())
		sum += c
		worst = max(worst, math.Abs(c))
	}
	if math.Abs(sum/pairs) > 0.01 || worst > 0.25 {
		t.Errorf("mean %.4f, worst %.3f", sum/pairs, worst)
	}
}

func TestScratchIsUsedAgain(t *testing.T) {
	dst := make([]float32, 0, Dimensions)
	w := new(work)
	n := testing.AllocsPerRun(100, func() { dst = w.appendText(dst[:0], line) })
	if n != 0 {
		t.Errorf("%v allocations for a text of ASCII, want none", n)
	}
	if len(w.folded) > 2*len(line) {
		t.Errorf("%d bytes of words for a text of %d: those of earlier texts are kept", len(w.folded), len(line))
	}
}
