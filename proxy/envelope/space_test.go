package envelope

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestValidSpace(t *testing.T) {
	const rule = `memory_space_id: expected 3 to 64 characters of a-z, 0-9, "-" and "_", got `
	cases := []struct{ space, got string }{
		{"abc", ""},
		{"a-z_0-9", ""},
		{"___", ""},
		{strings.Repeat("x", 64), ""},
		{"", `""`},
		{"ab", `"ab"`},
		{strings.Repeat("x", 65), `"` + strings.Repeat("x", 64) + `"... (65 bytes)`},
		{"Garden", `"Garden"`},
		{"a b", `"a b"`},
		{"a/../b", `"a/../b"`},
		{"a.b", `"a.b"`},
		{"caf\u00e9", "\"caf\u00e9\""},
		{"ab\xff\n", `"ab\xff\n"`},
		{"ab{", `"ab{"`},
		{"ab`", "\"ab`\""},
		{"ab:", `"ab:"`},
	}
	for _, c := range cases {
		err := ValidSpace([]byte(c.space))
		switch {
		case c.got == "" && err != nil:
			t.Errorf("%q: %v", c.space, err)
		case c.got != "" && (err == nil || err.Error() != rule+c.got):
			t.Errorf("%q: got  %v\nwant %s", c.space, err, rule+c.got)
		case err != nil && !utf8.ValidString(err.Error()):
			t.Errorf("%q: the message is not UTF-8", c.space)
		}
	}
}

func TestTimestamp(t *testing.T) {
	cases := []struct {
		at   time.Time
		nano int64
	}{
		{time.Unix(0, 0), 0},
		{time.Unix(1_700_000_000, 999_999_999), 1_700_000_000_999_999_999},
		{time.Unix(-1, 1), -999_999_999},
		{time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), -1 << 63},
		{time.Date(9999, 12, 31, 23, 59, 59, maxNanos, time.UTC), 1<<63 - 1},
		{time.Date(2262, 4, 11, 0, 0, 0, 0, time.UTC), 9223286400000000000},
		{time.Date(1677, 9, 22, 0, 0, 0, 0, time.UTC), -9223286400000000000},
	}
	for _, c := range cases {
		ts := Timestamp{Seconds: c.at.Unix(), Nanos: int32(c.at.Nanosecond())}
		if !ts.Time().Equal(c.at) || ts.Time().Location() != time.UTC || ts.UnixNano() != c.nano {
			t.Errorf("%v: got %v, %d ns; want %d", c.at, ts.Time(), ts.UnixNano(), c.nano)
		}
	}
}
