//go:build spoil_freed

package buffers

import (
	"bytes"
	"strings"
	"testing"
)

// caught is what use violates; it is nothing where nothing is wrong with it.
func caught(t *testing.T, use func()) (what string) {
	t.Helper()
	before := violated
	defer func() { violated = before }()
	violated = func(text string) { what = text }
	use()
	return what
}

func TestFreedMemoryIsWatched(t *testing.T) {
	var l Loans
	b := make([]byte, 2000, 2048)
	for _, row := range []struct {
		name, says string
		use        func()
	}{
		{"new", "", func() { l.Lent(b) }},
		{"written to and freed", "", func() { copy(b, "text"); l.Freed(b) }},
		{"freed twice", "freed twice", func() { l.Freed(b) }},
		{"lent again", "", func() { l.Lent(b) }},
		{"a part of it is freed", "", func() { l.Freed(b[:10]) }},
		{"written to while nobody had it", "byte 2047 of 2048 was written to", func() { b[:2048][2047] = 1; l.Lent(b) }},
		{"never lent", "never lent", func() { l.Freed(make([]byte, 2048)) }},
	} {
		if what := caught(t, row.use); (what == "") != (row.says == "") || !strings.Contains(what, row.says) {
			t.Errorf("%s: %q, expected %q", row.name, what, row.says)
		}
	}
}

func TestWhatIsReadAfterItsEndIsNonsense(t *testing.T) {
	var p Pool
	for _, n := range []int{3300, 1 << 20} {
		b := p.Get(n)
		kept := *b
		copy(kept, "of an earlier message")
		p.Put(b)
		if want := bytes.Repeat([]byte{spoilt}, n); !bytes.Equal(kept, want) {
			t.Errorf("%d bytes still read %.30q", n, kept)
		}
		if again := *p.Get(n); n <= sizes[len(sizes)-1] && again[n-1] != spoilt {
			t.Errorf("%d bytes are lent with something readable in them: %.30q", n, again)
		}
	}
}
