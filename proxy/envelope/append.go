package envelope

import (
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields are written as the canonical encoders do: in the order of their numbers, and not at all where they are zero.

func appendText[T textual](dst []byte, num protowire.Number, s T) []byte {
	if len(s) == 0 {
		return dst
	}
	return appendLast(dst, num, s)
}

// appendLast writes a text even where it is empty, because it has to override what stands before it.
func appendLast[T textual](dst []byte, num protowire.Number, s T) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendNumber(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, num, protowire.VarintType)
	return protowire.AppendVarint(dst, v)
}

func appendBool(dst []byte, num protowire.Number, v bool) []byte {
	if !v {
		return dst
	}
	return appendNumber(dst, num, 1)
}

func appendTime(dst []byte, num protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	dst, body := begin(dst, num)
	dst = appendNumber(dst, 1, uint64(t.Unix()))       //nolint:gosec // an int64 on the wire is its bits
	dst = appendNumber(dst, 2, uint64(t.Nanosecond())) //nolint:gosec // never negative
	return finish(dst, body)
}

// begin opens an embedded message. One byte is set aside for its length, which is enough below 128.
func begin(dst []byte, num protowire.Number) (grown []byte, body int) {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return append(dst, 0), len(dst) + 1
}

// finish closes the embedded message that begins at body.
func finish(dst []byte, body int) []byte {
	n := len(dst) - body
	if n < 0x80 {
		dst[body-1] = byte(n) //nolint:gosec // just checked
		return dst
	}
	var length [10]byte
	prefix := protowire.AppendVarint(length[:0], uint64(n))
	return slices.Replace(dst, body-1, body, prefix...)
}
