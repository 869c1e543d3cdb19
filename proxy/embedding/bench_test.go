package embedding

import (
	"strings"
	"testing"
)

func benchmarkText(b *testing.B, s string) {
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	dst := make([]float32, 0, Dimensions)
	for b.Loop() {
		dst = AppendText(dst[:0], s)
	}
}

func BenchmarkLine(b *testing.B) { benchmarkText(b, line) }
func BenchmarkAccents(b *testing.B) {
	benchmarkText(b, "Dès l’été, la bouilloire déborda pendant que personne n’était là.")
}
func BenchmarkPage(b *testing.B) { benchmarkText(b, strings.Repeat(line+"\n", 40)) }
func BenchmarkBlob(b *testing.B) { benchmarkText(b, strings.Repeat("QUJDREVGR0g", 20_000)) }
