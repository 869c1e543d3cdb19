package envelope

import (
	"math"
	"strconv"
	"time"
)

// The range of google.protobuf.Timestamp: the years 1 to 9999.
const (
	minSeconds = -62135596800
	maxSeconds = 253402300799
	maxNanos   = 999_999_999
)

// Timestamp is a google.protobuf.Timestamp.
type Timestamp struct {
	Seconds int64 // since 1970-01-01 UTC; the years 1 to 9999
	Nanos   int32 // 0 to 999,999,999, forward in time
}

// Time returns the same instant in UTC.
func (t Timestamp) Time() time.Time { return time.Unix(t.Seconds, int64(t.Nanos)).UTC() }

// UnixNano returns nanoseconds since 1970. They only reach from 1677 to 2262: an instant outside comes as the nearer end.
func (t Timestamp) UnixNano() int64 {
	const whole = math.MaxInt64 / int64(time.Second)
	switch {
	case t.Seconds >= whole:
		return math.MaxInt64
	case t.Seconds <= -whole:
		return math.MinInt64
	default:
		return t.Seconds*int64(time.Second) + int64(t.Nanos)
	}
}

// scanTimestamp reads the Timestamp in the named field.
func scanTimestamp(name string, b []byte, t *Timestamp) error {
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if err := timestampRules.check(&f, &seen); err != nil {
			return within(name, err)
		}
		switch f.num {
		case 1:
			t.Seconds = int64(f.value) //nolint:gosec // an int64 on the wire is its bits
		case 2:
			t.Nanos = int32(f.value) //nolint:gosec // and of an int32 its lower ones
		}
	}
	if err := r.err(); err != nil {
		return within(name, err)
	}
	if t.Seconds < minSeconds || t.Seconds > maxSeconds {
		return &FieldError{
			Field: name + ".seconds", Expected: "-62135596800 to 253402300799 (years 1 to 9999)",
			Got: strconv.FormatInt(t.Seconds, 10),
		}
	}
	if t.Nanos < 0 || t.Nanos > maxNanos {
		return &FieldError{Field: name + ".nanos", Expected: "0 to 999999999", Got: strconv.Itoa(int(t.Nanos))}
	}
	return nil
}

// scanConfidence reads the value of the Confidence in the named field.
func scanConfidence(name string, b []byte) (value float32, err error) {
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if err := confidenceRules.check(&f, &seen); err != nil {
			return 0, within(name, err)
		}
		if f.num == 1 {
			value = f.float()
		}
	}
	if err := r.err(); err != nil {
		return 0, within(name, err)
	}
	if !(value >= 0 && value <= 1) { // written so that NaN is refused too
		return 0, &FieldError{Field: name + ".value", Expected: "a number in [0, 1]", Got: formatFloat(value)}
	}
	return value, nil
}

// checkMetadata looks through one entry of the map in the named field.
func checkMetadata(name string, b []byte) error {
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if err := metadataRules.check(&f, &seen); err != nil {
			return within(name, err)
		}
	}
	if err := r.err(); err != nil {
		return within(name, err)
	}
	return nil
}

// float returns the value of a field of 32 fixed bits.
func (f *field) float() float32 { return math.Float32frombits(uint32(f.value)) } //nolint:gosec // it has 32 bits

func formatFloat(v float32) string { return strconv.FormatFloat(float64(v), 'g', -1, 32) }
