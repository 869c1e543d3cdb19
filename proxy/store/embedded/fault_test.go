package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
)

// TestVectorsVanish cuts the vectors file of an open store, so that reading where it is mapped faults, as it does where a
// disk cannot read a sector.
func TestVectorsVanish(t *testing.T) {
	for _, workers := range []int{1, 4} {
		dir := filepath.Join(quickDir(t), "store")
		s := open(t, dir, Config{Workers: workers})
		mustPut(t, s, tulips(1, 20)...)
		l := newLayout(defaultSegmentRows)
		if err := os.Truncate(segmentPath(dir, vectorsPrefix, 0), l.vectorAt(4)); err != nil {
			t.Fatal(err)
		}
		// The page in which the file ends is there still, with zeros behind the end.
		got := len(holds(t, s, garden))
		if st := s.Stats(); got < 4 || got > 6 || st.Damaged != 20-got || st.Live != got {
			t.Errorf("%d hits, %+v", got, st)
		}
		for _, d := range s.Damages() {
			if d.ID == "" || d.Space != garden || d.Reason == "" {
				t.Errorf("the damage is named as %+v", d)
			}
		}
		// Stored again, they are there again.
		mustPut(t, s, tulips(1, 20)...)
		wantTulips(t, s, 1, 20)
	}
}

// TestIndexVanishes cuts the index of an open store. bbolt reads it where it is mapped; the next commit makes it anew.
func TestIndexVanishes(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	s := open(t, dir, small())
	mustPut(t, s, tulips(1, 20)...)
	if err := os.Truncate(filepath.Join(dir, indexName), 4096); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, tulips(21, 3)...)
	wantTulips(t, s, 1, 23)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantTulips(t, open(t, dir, Config{}), 1, 23)
}

func TestGuard(t *testing.T) {
	cause := errors.New("cause")
	if panicked, err := guard(func() error { return cause }); panicked || !errors.Is(err, cause) {
		t.Errorf("an error became %v, %v", panicked, err)
	}
	if panicked, err := guard(func() error { panic("page 3: unexpected type") }); !panicked || !errors.Is(err, errIndex) {
		t.Errorf("a panic became %v, %v", panicked, err)
	}
	var none []int
	if panicked, err := guard(func() error { none[3] = 1; return nil }); !panicked || !errors.Is(err, errIndex) || errors.Is(err, errFault) {
		t.Errorf("a mistake in a program became %v, %v", panicked, err)
	}
}

// TestDamagedBytes flips bytes of stored memories, and expects every recall to be right about the others.
func TestDamagedBytes(t *testing.T) {
	const rows = 12
	master := filepath.Join(quickDir(t), "master")
	fullStore(t, master, rows)
	bodyBytes := (size(t, segmentPath(master, bodiesPrefix, 0)) - headerBytes) / rows
	for _, file := range []struct {
		prefix string
		row    int64
		step   int64
	}{{bodiesPrefix, bodyBytes, 3}, {vectorsPrefix, vectorBytes, 251}} {
		for at := int64(0); at < file.row; at += file.step {
			dir := filepath.Join(quickDir(t), "store")
			copyDir(t, master, dir)
			change(t, segmentPath(dir, file.prefix, 0), func(b []byte) []byte {
				b[headerBytes+6*file.row+at] ^= 0x41
				return b
			})
			s := open(t, dir, Config{})
			checkOneDamaged(t, s, rows, 7, file.prefix == bodiesPrefix)
			if err := errors.Join(s.Close(), os.RemoveAll(dir)); err != nil {
				t.Fatal(err)
			}
			if t.Failed() {
				t.Fatalf("%s: byte %d of a row flipped", file.prefix, at)
			}
		}
	}
}

// checkOneDamaged expects all tulips but the k., and that it comes again where it is stored again. The last bytes of a body
// are padding, and nobody minds them.
func checkOneDamaged(t *testing.T, s *Store, rows, k int, mayBePadding bool) {
	t.Helper()
	got := map[string]bool{}
	for _, it := range holds(t, s, garden) {
		got[it.ID] = it.Text == tulipText(k, k) || it.ID != tulipID(k)
	}
	st := s.Stats()
	if mayBePadding && st.Damaged == 0 && len(got) == rows {
		wantTulips(t, s, 1, rows)
		return
	}
	if len(got) != rows-1 || got[tulipID(k)] || st.Damaged != 1 || st.Live != rows-1 {
		t.Errorf("%d hits, %+v", len(got), st)
	}
	for k, damages := 0, s.Damages(); k < len(damages); k++ {
		if d := damages[k]; d.Row != 6 || d.Space != garden || d.Reason == "" {
			t.Errorf("the damage is named as %+v", d)
		}
	}
	mustPut(t, s, tulip(k, k))
	wantTulips(t, s, 1, rows)
}

// TestConfirmsOnlyWhatIsThere stores a memory again whose bytes have rotten since: the answer must not rest on them.
func TestConfirmsOnlyWhatIsThere(t *testing.T) {
	for _, prefix := range []string{vectorsPrefix, bodiesPrefix} {
		dir := filepath.Join(quickDir(t), "store")
		fullStore(t, dir, 3)
		change(t, segmentPath(dir, prefix, 0), func(b []byte) []byte {
			b[len(b)-20] ^= 1
			return b
		})
		s := open(t, dir, Config{})
		mustPut(t, s, tulip(3, 3)) // before anyone has recalled it
		wantTulips(t, s, 1, 3)
		if st := s.Stats(); st.Damaged != 1 || st.Rows != 4 {
			t.Errorf("%s: %+v", prefix, st)
		}
		// And the one that took its place is the one that stays.
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wantTulips(t, open(t, dir, Config{}), 1, 3)
	}
}

// TestNextBestComesUp finds damage only when the hits are read: the answer has as many all the same.
func TestNextBestComesUp(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	fullStore(t, dir, 9)
	change(t, segmentPath(dir, bodiesPrefix, 0), func(b []byte) []byte {
		b[headerBytes+bodyHead+3] ^= 1 // of the first tulip's names
		return b
	})
	s := open(t, dir, Config{})
	answer, err := s.Recall(t.Context(), store.Query{Space: garden, Vector: storetest.Vector(1), K: 3, Threshold: -1})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Hits) != 3 || answer.Hits[0].ID == tulipID(1) || answer.Considered != 8 {
		t.Errorf("%d hits out of %d, the first %q", len(answer.Hits), answer.Considered, answer.Hits[0].ID)
	}
}

// TestDamageIsFound names damage that would only have kept a memory out of the answer.
func TestDamageIsFound(t *testing.T) {
	dir := quickDir(t)
	fullStore(t, dir, 9)
	change(t, segmentPath(dir, vectorsPrefix, 0), func(b []byte) []byte {
		row := b[headerBytes+4*vectorBytes : headerBytes+5*vectorBytes]
		for i := range row {
			row[i] = 0xff // not a number
		}
		return b
	})
	s := open(t, dir, Config{})
	answer, err := s.Recall(t.Context(), store.Query{Space: garden, Vector: storetest.Vector(1), K: 1})
	if err != nil || len(answer.Hits) != 1 || answer.Hits[0].ID != tulipID(1) {
		t.Errorf("%+v, %v", answer.Hits, err)
	}
	if d := s.Damages(); len(d) != 1 || d[0].ID != tulipID(5) || !strings.Contains(d[0].Reason, "vector") {
		t.Errorf("the damage is named as %+v", d)
	}
}

// TestSwappedBodies exchanges two bodies, whose checksums are right, and are each in the other's place.
func TestSwappedBodies(t *testing.T) {
	dir := quickDir(t)
	fullStore(t, dir, 9)
	change(t, segmentPath(dir, bodiesPrefix, 0), func(b []byte) []byte {
		row := (len(b) - headerBytes) / 9
		second, third := b[headerBytes+row:headerBytes+2*row], b[headerBytes+2*row:headerBytes+3*row]
		for i := range second {
			second[i], third[i] = third[i], second[i]
		}
		return b
	})
	s := open(t, dir, Config{})
	for _, it := range holds(t, s, garden) {
		if it.ID == tulipID(2) || it.ID == tulipID(3) {
			t.Errorf("%s was found by another's vector", it.ID)
		}
	}
	if st := s.Stats(); st.Live != 7 || st.Damaged != 2 {
		t.Errorf("%+v", st)
	}
}
