package forward

import (
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestWhatAStoreQuotesIsMasked(t *testing.T) {
	items := []item{{rec: wal.Record{ID: []byte("id-of-it"), Payload: []byte("\x0a\x10the king is dead\x12")}}, {rec: wal.Record{Payload: []byte("long live him")}}}
	cases := []struct{ said, want string }{
		{"embedding of 3 dimensions", "embedding of 3 dimensions"},
		{`content "the king is dead" is refused`, `content "…" is refused`},
		{`content "king is dea…" and "long live him"`, `content "……" and "…"`},
		{"memory id-of-it exists", "memory … exists"},
		{"vector [0.123456 -0.25, 1.5e-7, 2.71828e+01] has norm 12.5", "vector [… -0.25, 1.5e-7, …] has norm 12.5"},
		{"", ""},
		{"ab", "ab"},
	}
	for _, c := range cases {
		if got := masked(c.said, items); got != c.want {
			t.Errorf("%q: %q, want %q", c.said, got, c.want)
		}
	}
	if got := masked("the king is dead", nil); got != "the king is dead" {
		t.Errorf("without records: %q", got)
	}
}
