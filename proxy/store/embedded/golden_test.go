package embedded

import (
	"os"
	"path/filepath"
	"testing"
)

// TestGoldenFormat1 opens what format version 1 wrote: twenty tulips in two segments and a bit, one of them twice; with its
// index and without. If this fails, mend the code; the files in testdata/format-1 never change.
func TestGoldenFormat1(t *testing.T) {
	for name, lost := range map[string][]string{"whole": nil, "without its index": {indexName}, "without its FORMAT": {formatName}} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(quickDir(t), "store")
			copyDir(t, filepath.Join("testdata", "format-1"), dir)
			for _, file := range lost {
				if err := os.Remove(filepath.Join(dir, file)); err != nil {
					t.Fatal(err)
				}
			}
			s := open(t, dir, Config{})
			wantTulips(t, s, 1, 20)
			if n := s.Count(garden); n != 20 || len(s.Damages()) != 0 {
				t.Errorf("%d memories, damages %v; expected 20 and none", n, s.Damages())
			}
			mustPut(t, s, tulips(21, 10)...)
			wantTulips(t, s, 1, 30)
		})
	}
}
