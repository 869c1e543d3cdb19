//go:build !amd64

package embedded

// sketchable says that this machine compares sketches faster than vectors: without assembly it does not.
var sketchable = false

func dotCodes(codes *codes, query *[dimensions]int16) int32 { return dotCodesPlain(codes, query) }
