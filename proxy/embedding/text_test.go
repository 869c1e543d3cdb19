package embedding

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"
	"testing"
)

const line = "The kettle boiled over while nobody was in the kitchen, and the cat ran off with the fish."

func sumOf(v []float32) string {
	h := sha256.New()
	for _, x := range v {
		h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(x)))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// TestGolden pins vectors to the last bit. A change here makes every vector that anybody has stored incomparable: do not
// adapt the sums to the code.
func TestGolden(t *testing.T) {
	golden := []struct{ text, sum string }{
		{"", "bba91b444ce5ab8c1cd47f9264eafc46"},
		{"a", "206a4659ae01144616c5f13fac63c939"},
		{"word", "c7561a9c784cf60ad3b98e201009f2a7"},
		{line, "ccb0d2efe2af1e0307125f7d2cee9c69"},
		{strings.Repeat(line+"\n", 50), "58bca96b19fdc87972ff578ce92fd542"},
		{"Dès l’été, la bouilloire déborda.", "628213817bf95f400e5fe0ca223fe77c"},
		{"Στίγμα ΣΤΊΓΜΑΣ στίγμας; Ёлка — ёлка", "29ee3307fdfee91eefdc240df159164c"},
		{"今天天气很好。カタカナ、ひらがな。한국어", "651e45b3b6b905c57045cc4e082367cd"},
		{"नमस्ते दुनिया สวัสดี مَرْحَبًا", "3fdc6e855dd97f1d143058293c869f52"},
		{"ﬁne ½ ① Ｆｕｌｌ \u212a \u017f", "ab42949d9791b7e980230941100d25ee"},
		{"🙂 🙂 🙃", "9b43d85669e29217f235589f04ed2b2f"},
		{"bad \xff\xfe utf-8 \xc3", "af3daa2854a39e9b9b28839c8939cf16"},
		{"\x00\x02\x03", "631b6b5c3b2555910abf2504db00208c"},
	}
	for _, c := range golden {
		if got := sumOf(Text(c.text)); got != c.sum {
			t.Errorf("%.40q: got %s, want %s", c.text, got, c.sum)
		}
	}
}
