package ledger

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestBitmapIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		position := rapid.Uint64Range(0, 300)
		in, out := rapid.SliceOfDistinct(position, rapid.ID).Draw(t, "in"), rapid.SliceOfDistinct(position, rapid.ID).Draw(t, "out")
		var b, other bitmap
		for _, i := range in {
			b.set(i)
		}
		for _, i := range out {
			other.set(i)
		}
		b = parseBitmap(b.append(nil))
		left := b.without(other)
		through := uint64(0)
		var want, got []uint64
		for i := range uint64(400) {
			if b.has(i) != slices.Contains(in, i) {
				t.Fatalf("has %d: %v", i, b.has(i))
			}
			if b.has(i) {
				through++
			}
			if n := b.countThrough(i); n != through {
				t.Fatalf("%d through %d, want %d", n, i, through)
			}
			if slices.Contains(in, i) && !slices.Contains(out, i) {
				want = append(want, i)
			}
		}
		last := uint64(0)
		left.runs(func(first, end uint64) bool {
			if first > end || (len(got) > 0 && first <= last+1) {
				t.Fatalf("run %d to %d behind %d", first, end, last)
			}
			for last = first; last <= end; last++ {
				got = append(got, last)
			}
			last = end
			return true
		})
		if !slices.Equal(got, want) {
			t.Fatalf("runs of %v, want %v", got, want)
		}
	})
}
