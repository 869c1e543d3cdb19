package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size uint64

// The units a size is written in, beside the decimal ones.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// units in the order in which they are tried: a suffix before those it ends with.
var units = []struct {
	suffix string
	size   Size
}{
	{"KiB", KiB},
	{"MiB", MiB},
	{"GiB", GiB},
	{"TiB", TiB},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
	{"", 1},
}

// UnmarshalText reads a number of bytes with an optional unit: 1073741824, 512MiB, 1.5 GiB, 10GB.
func (s *Size) UnmarshalText(text []byte) error {
	in := strings.TrimSpace(string(text))
	for _, u := range units {
		number, ok := strings.CutSuffix(in, u.suffix)
		if !ok {
			continue
		}
		number = strings.TrimSpace(number)
		if n, err := strconv.ParseUint(number, 10, 64); err == nil && n <= math.MaxInt64/uint64(u.size) {
			*s = Size(n) * u.size
			return nil
		}
		if f, err := strconv.ParseFloat(number, 64); err == nil && f >= 0 && f*float64(u.size) < math.MaxInt64 && u.size > 1 {
			*s = Size(f * float64(u.size))
			return nil
		}
		break
	}
	return fmt.Errorf("expected a size such as 512MiB, 10GB or a number of bytes, got %q", in)
}

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range []struct {
		suffix string
		size   Size
	}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}} {
		if s >= u.size && s%u.size == 0 {
			return fmt.Sprintf("%d%s", uint64(s/u.size), u.suffix)
		}
	}
	return strconv.FormatUint(uint64(s), 10)
}

// Lanes holds one number of records for each lane: high, normal, low.
type Lanes [3]int

// UnmarshalText reads three numbers separated by commas.
func (l *Lanes) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), ",")
	var lanes Lanes
	ok := len(parts) == len(lanes)
	for i := 0; ok && i < len(lanes); i++ {
		n, err := strconv.Atoi(strings.TrimSpace(parts[i]))
		ok = err == nil && n >= 0
		lanes[i] = n
	}
	if !ok {
		return fmt.Errorf("expected three numbers for high,normal,low such as 0,100000,1000, got %q", text)
	}
	*l = lanes
	return nil
}
