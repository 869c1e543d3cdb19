package ledger

import (
	"encoding/binary"
	"math/bits"
)

// bitmap is a set of positions in a generation: bit i stands for the record base+i.
type bitmap []uint64

func (b *bitmap) set(i uint64) {
	for uint64(len(*b)) <= i/64 {
		*b = append(*b, 0)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

func (b bitmap) has(i uint64) bool { return i/64 < uint64(len(b)) && b[i/64]&(1<<(i%64)) != 0 }

// countThrough is how many positions up to i are in b.
func (b bitmap) countThrough(i uint64) (n uint64) {
	for w, v := range b {
		switch {
		case uint64(w) > i/64:
			return n
		case uint64(w) == i/64:
			v &= ^uint64(0) >> (63 - i%64)
		}
		n += uint64(bits.OnesCount64(v))
	}
	return n
}

// without returns the positions in b that are not in other.
func (b bitmap) without(other bitmap) bitmap {
	out := make(bitmap, len(b))
	for i, w := range b {
		if i < len(other) {
			w &^= other[i]
		}
		out[i] = w
	}
	return out
}

// runs calls visit for each run of consecutive positions, in order, until it returns false.
func (b bitmap) runs(visit func(first, last uint64) bool) bool {
	n := uint64(len(b)) * 64
	for i := b.next(0, true); i < n; {
		end := b.next(i, false)
		if !visit(i, end-1) {
			return false
		}
		i = b.next(end, true)
	}
	return true
}

// next is the first position from i on that is set (or is not), or the end.
func (b bitmap) next(i uint64, set bool) uint64 {
	for w := i / 64; w < uint64(len(b)); w++ {
		v := b[w]
		if !set {
			v = ^v
		}
		if w == i/64 {
			v &= ^uint64(0) << (i % 64)
		}
		if v != 0 {
			return w*64 + uint64(bits.TrailingZeros64(v))
		}
	}
	return uint64(len(b)) * 64
}

func (b bitmap) append(dst []byte) []byte {
	for _, w := range b {
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst
}

func parseBitmap(p []byte) bitmap {
	b := make(bitmap, 0, len(p)/8)
	for ; len(p) >= 8; p = p[8:] {
		b = append(b, binary.LittleEndian.Uint64(p))
	}
	return b
}
