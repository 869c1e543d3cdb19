package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCutFiles cuts the files of the last segment at every byte of their last rows, and opens what is left: with the index,
// which knows what is missing, and without it.
func TestCutFiles(t *testing.T) {
	const rows, damaged = 12, 2
	master := filepath.Join(quickDir(t), "master")
	fullStore(t, master, rows)
	bodies := filepath.Base(segmentPath(master, bodiesPrefix, 0))
	vectors := filepath.Base(segmentPath(master, vectorsPrefix, 0))
	bodyBytes := (size(t, filepath.Join(master, bodies)) - headerBytes) / rows
	for _, file := range []struct {
		name string
		row  int64 // bytes
		step int64 // a vector is long, and all its bytes are alike
	}{{bodies, bodyBytes, 1}, {vectors, vectorBytes, 97}} {
		whole := size(t, filepath.Join(master, file.name))
		for cut := int64(1); cut <= damaged*file.row; cut += file.step {
			lost := int((cut + file.row - 1) / file.row)
			for _, index := range []bool{true, false} {
				dir := filepath.Join(quickDir(t), "cut")
				copyDir(t, master, dir)
				if err := os.Truncate(filepath.Join(dir, file.name), whole-cut); err != nil {
					t.Fatal(err)
				}
				if !index {
					change(t, filepath.Join(dir, indexName), func([]byte) []byte { return nil })
				}
				checkCut(t, dir, rows, lost, index)
				if t.Failed() {
					t.Fatalf("%s without its last %d bytes, index %v", file.name, cut, index)
				}
			}
		}
	}
}

func checkCut(t *testing.T, dir string, rows, lost int, index bool) {
	t.Helper()
	defer os.RemoveAll(dir)
	s, err := Open(dir, small())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantTulips(t, s, 1, rows-lost)
	want := Stats{Rows: rows, Live: rows - lost, Damaged: lost}
	if !index { // nobody can know of them
		want = Stats{Rows: rows - lost, Live: rows - lost}
	}
	if st := s.Stats(); st.Rows != want.Rows || st.Live != want.Live || st.Damaged != want.Damaged {
		t.Errorf("rows %d, live %d, damaged %d; expected %d, %d, %d", st.Rows, st.Live, st.Damaged, want.Rows, want.Live, want.Damaged)
	}
	for _, d := range s.Damages() {
		if d.Space != garden || !strings.Contains(d.File, vectorsPrefix) || int(d.Row) < rows-lost {
			t.Errorf("the damage is named as %+v", d)
		}
	}
	// What was lost comes again, with the same versions.
	mustPut(t, s, tulips(1, rows+2)...)
	wantTulips(t, s, 1, rows+2)
}

// TestLostFiles takes whole files away.
func TestLostFiles(t *testing.T) {
	const rows = 40 // three segments of 16
	master := filepath.Join(quickDir(t), "master")
	fullStore(t, master, rows)
	for _, row := range []struct {
		name  string
		lost  []string
		index bool
		left  []int // tulips from and to, in pairs
		dead  int
	}{
		{"vectors of the middle", []string{"vectors-000002.seg"}, true, []int{1, 16, 33, 40}, 16},
		{"bodies of the middle", []string{"bodies-000002.seg"}, true, []int{1, 16, 33, 40}, 16},
		{"both of the last", []string{"vectors-000003.seg", "bodies-000003.seg"}, true, []int{1, 32}, 8},
		{"vectors of the middle, and the index", []string{"vectors-000002.seg"}, false, []int{1, 16, 33, 40}, 16},
		{"bodies of the middle, and the index", []string{"bodies-000002.seg"}, false, []int{1, 16, 33, 40}, 16},
		{"both of the first, and the index", []string{"vectors-000001.seg", "bodies-000001.seg"}, false, []int{17, 40}, 16},
		{"both of the last, and the index", []string{"vectors-000003.seg", "bodies-000003.seg"}, false, []int{1, 32}, 0},
		{"FORMAT", []string{formatName}, true, []int{1, 40}, 0},
		{"FORMAT and index", []string{formatName}, false, []int{1, 40}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := filepath.Join(quickDir(t), "store")
			copyDir(t, master, dir)
			if !row.index {
				row.lost = append(row.lost, indexName)
			}
			for _, name := range row.lost {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // what was found out holds after the next start too
				s := open(t, dir, Config{})
				checkLeftOver(t, s, row.left, row.dead)
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

func checkLeftOver(t *testing.T, s *Store, ranges []int, damaged int) {
	t.Helper()
	left := map[string]bool{}
	for i := 0; i < len(ranges); i += 2 {
		for k := ranges[i]; k <= ranges[i+1]; k++ {
			left[tulipID(k)] = true
		}
	}
	got := holds(t, s, garden)
	for _, it := range got {
		if !left[it.ID] {
			t.Errorf("%s should be lost", it.ID)
		}
	}
	if len(got) != len(left) {
		t.Errorf("%d memories are left, expected %d", len(got), len(left))
	}
	if n := s.Stats().Damaged; n != damaged {
		t.Errorf("%d rows count as damaged, expected %d", n, damaged)
	}
}

// TestUnfinishedTail puts things behind the last commit that a crash may leave there.
func TestUnfinishedTail(t *testing.T) {
	const rows = 10
	master := filepath.Join(quickDir(t), "master")
	fullStore(t, master, rows)
	longer := filepath.Join(quickDir(t), "longer")
	fullStore(t, longer, rows+6)
	for name, foul := range map[string]func(t *testing.T, path, prefix string){
		"zeros": func(t *testing.T, path, _ string) {
			change(t, path, func(b []byte) []byte { return append(b, make([]byte, 5000)...) })
		},
		"ones": func(t *testing.T, path, _ string) {
			change(t, path, func(b []byte) []byte {
				for range 5000 {
					b = append(b, 0xff)
				}
				return b
			})
		},
		"earlier rows again": func(t *testing.T, path, _ string) {
			change(t, path, func(b []byte) []byte { return append(b, b[headerBytes:]...) })
		},
		"the next rows without the first of them": func(t *testing.T, path, prefix string) {
			change(t, path, func(b []byte) []byte {
				next := contentOf(segmentPath(longer, prefix, 0))[len(b):]
				return append(b, next[len(next)/6:]...)
			})
		},
	} {
		for _, prefix := range []string{vectorsPrefix, bodiesPrefix, ""} {
			t.Run(name+" "+prefix, func(t *testing.T) {
				dir := filepath.Join(quickDir(t), "store")
				copyDir(t, master, dir)
				for _, p := range []string{vectorsPrefix, bodiesPrefix} {
					if prefix == p || prefix == "" {
						foul(t, segmentPath(dir, p, 0), p)
					}
				}
				s := open(t, dir, Config{})
				wantTulips(t, s, 1, rows)
				for _, p := range []string{vectorsPrefix, bodiesPrefix} {
					if got, want := size(t, segmentPath(dir, p, 0)), size(t, segmentPath(master, p, 0)); got != want {
						t.Errorf("%s is %d bytes long, expected %d", p, got, want)
					}
				}
				if n := s.Stats().Damaged; n != 0 {
					t.Errorf("%d rows count as damaged", n)
				}
			})
		}
	}
}

// TestWholeTail has whole rows behind the last commit: bbolt falls back to its older meta page where the newer is damaged,
// and no longer knows a commit that was confirmed.
func TestWholeTail(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	s, err := Open(dir, small())
	if err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, tulips(1, 12)...)
	before := contentOf(filepath.Join(dir, indexName))
	mustPut(t, s, append(tulips(13, 20), tulip(3, 100))...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, filepath.Join(dir, indexName), func([]byte) []byte { return before })
	for range 2 {
		s := open(t, dir, Config{})
		if st := s.Stats(); st.Rows != 33 || st.Live != 32 || st.Damaged != 0 {
			t.Errorf("rows %d, live %d, damaged %d; expected 33, 32, 0", st.Rows, st.Live, st.Damaged)
		}
		for _, it := range holds(t, s, garden) {
			if it.ID == tulipID(3) && it.Version != 100 {
				t.Errorf("%s is there as version %d, expected 100", it.ID, it.Version)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
