package embedded

import "golang.org/x/sys/cpu"

// dotCodesAVX2 is dotCodesPlain for processors with AVX2. In dotcodes_amd64.s.
//
//go:noescape
func dotCodesAVX2(codes *int8, query *int16) int32

// sketchable says that this machine compares sketches faster than vectors.
var sketchable = cpu.X86.HasAVX2

// dotCodes returns the inner product of a sketch's codes and a query's.
func dotCodes(codes *codes, query *[dimensions]int16) int32 {
	if sketchable {
		return dotCodesAVX2(&codes[0], &query[0])
	}
	return dotCodesPlain(codes, query)
}
