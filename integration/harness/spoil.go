package harness

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Spoil changes one byte of an observation's text in the journal of a data directory, as a rotten disk would.
func Spoil(t testing.TB, dir string, of Observation) {
	t.Helper()
	text := EpisodeOf(of).GetWhat()
	segments, err := filepath.Glob(filepath.Join(dir, "journal", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, append([]byte{0x1a, byte(len(text))}, text...)); at >= 0 { // the field what
			b[at+2] ^= 1
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%v is in none of %v", of, segments)
}
