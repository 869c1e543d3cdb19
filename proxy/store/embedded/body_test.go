package embedded

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

func someBody() body {
	return body{
		row: 77, version: 1 << 40, at: -5, form: wal.FormRemember, space: []byte("garden"), id: []byte("tulip"),
		stored: []byte("before"), behind: []byte("and after"), hole: 7, sum: 99, scale: 0.5,
	}
}

func TestBodyRoundTrip(t *testing.T) {
	in := someBody()
	b := appendBody([]byte("in front"), &in)[len("in front"):]
	var out body
	if err := decodeBody(b, &out); err != nil {
		t.Fatal(err)
	}
	if out.row != in.row || out.version != in.version || out.at != in.at || out.form != in.form || out.sum != in.sum ||
		out.scale != in.scale || string(out.space) != "garden" || string(out.id) != "tulip" || out.length != in.length {
		t.Errorf("got %+v", out)
	}
	if got := string(out.payload([]byte(" [vector] "))); got != "before [vector] and after" {
		t.Errorf("the payload is %q", got)
	}
	if len(b) != int(in.length) || len(b)%bodyAlign != 0 {
		t.Errorf("%d bytes, length %d", len(b), in.length)
	}
}

// TestBodyBits flips each bit of a body. None but those of the padding may go unseen.
func TestBodyBits(t *testing.T) {
	in := someBody()
	b := appendBody(nil, &in)
	content := bodyHead + len(in.space) + len(in.id) + len(in.stored) + len(in.behind)
	for i := range 8 * len(b) {
		b[i/8] ^= 1 << (i % 8)
		var out body
		err := decodeBody(b, &out)
		if padding := i/8 >= content; (err == nil) != padding {
			t.Errorf("bit %d flipped: %v", i, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range b {
		var out body
		if err := decodeBody(b[:n], &out); err == nil {
			t.Errorf("the first %d bytes pass for all %d", n, len(b))
		}
	}
}

// TestBodyLengths has lengths that no writer writes, under checksums that match.
func TestBodyLengths(t *testing.T) {
	for name, change := range map[string]func(b []byte){
		"shorter than its parts": func(b []byte) { binary.LittleEndian.PutUint32(b[12:], bodyHead) },
		"absurdly long":          func(b []byte) { binary.LittleEndian.PutUint32(b[12:], math.MaxUint32) },
		"stored beyond the end":  func(b []byte) { binary.LittleEndian.PutUint32(b[40:], math.MaxUint32) },
		"hole beyond the end":    func(b []byte) { binary.LittleEndian.PutUint32(b[44:], 1000) },
	} {
		in := someBody()
		b := appendBody(nil, &in)
		change(b)
		binary.LittleEndian.PutUint32(b[4:], checksum(b[8:bodyHead+len(in.space)+len(in.id)]))
		var out body
		if err := decodeHead(b, &out); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzBody looks for bytes that make the decoder read beyond them, or that it takes and understands otherwise than a writer
// would have meant them.
func FuzzBody(f *testing.F) {
	in := someBody()
	f.Add(appendBody(nil, &in))
	f.Add([]byte{})
	f.Add(make([]byte, bodyHead))
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second body
		if decodeBody(b, &first) != nil {
			return
		}
		again := first
		if err := decodeBody(appendBody(nil, &again), &second); err != nil {
			t.Fatalf("encoded again it is refused: %v", err)
		}
		second.length = first.length // more padding than a writer leaves is taken
		if !reflect.DeepEqual(first, second) {
			t.Errorf("%+v became %+v", first, second)
		}
	})
}

// TestSalvageSeeks has a bodies file with heads lost in the middle, and bytes in between that look like a head.
func TestSalvageSeeks(t *testing.T) {
	for name, hurt := range map[string]func(b []byte, row func(i int) int){
		"one head": func(b []byte, row func(i int) int) { b[row(5)+20] ^= 1 },
		"three heads": func(b []byte, row func(i int) int) {
			for i := 4; i < 7; i++ {
				b[row(i)+5] ^= 1
			}
		},
		"a run of zeros": func(b []byte, row func(i int) int) { clear(b[row(3)+8 : row(6)+8]) },
		"a head that comes twice": func(b []byte, row func(i int) int) {
			copy(b[row(5):row(6)], b[row(2):row(3)])
		},
		"a magic that is none": func(b []byte, row func(i int) int) {
			clear(b[row(5):row(6)])
			binary.LittleEndian.PutUint32(b[row(5)+16:], bodyMagic)
		},
		"the first": func(b []byte, row func(i int) int) { clear(b[row(0) : row(0)+40]) },
	} {
		t.Run(name, func(t *testing.T) {
			const rows = 12
			dir := quickDir(t)
			fullStore(t, dir, rows)
			whole := contentOf(segmentPath(dir, bodiesPrefix, 0))
			row := func(i int) int { return headerBytes + i*(len(whole)-headerBytes)/rows }
			change(t, segmentPath(dir, bodiesPrefix, 0), func(b []byte) []byte { hurt(b, row); return b })
			changed := map[int]bool{}
			now := contentOf(segmentPath(dir, bodiesPrefix, 0))
			for i := range rows {
				changed[i+1] = !bytes.Equal(now[row(i):row(i+1)], whole[row(i):row(i+1)])
			}
			change(t, dir+"/"+indexName, func([]byte) []byte { return nil })
			for range 2 {
				s := open(t, dir, Config{})
				checkSalvaged(t, s, rows, changed)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			s := open(t, dir, Config{})
			mustPut(t, s, tulips(1, rows)...)
			wantTulips(t, s, 1, rows)
		})
	}
}

func checkSalvaged(t *testing.T, s *Store, rows int, lost map[int]bool) {
	t.Helper()
	got := map[string]bool{}
	for _, it := range holds(t, s, garden) {
		got[it.ID] = true
	}
	damaged := 0
	for k := 1; k <= rows; k++ {
		if got[tulipID(k)] == lost[k] {
			t.Errorf("%s is there: %v, hurt: %v", tulipID(k), got[tulipID(k)], lost[k])
		}
		if lost[k] {
			damaged++
		}
	}
	if st := s.Stats(); st.Damaged != damaged || st.Live != rows-damaged || st.Rows != rows {
		t.Errorf("%+v, expected %d damaged", st, damaged)
	}
}
