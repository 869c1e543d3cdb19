package harness

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"
)

// TestABombIsWhatGzipMakes: only what unpacks to the last byte, its checksum included, is a bomb.
func TestABombIsWhatGzipMakes(t *testing.T) {
	packed := packedZeros(t, 5)
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r)
	if err != nil || len(all) != 5<<20 || len(bytes.Trim(all, "\x00")) > 0 {
		t.Errorf("%d bytes, %v", len(all), err)
	}
	if len(packed) > len(all)/500 {
		t.Errorf("%d bytes in %d", len(all), len(packed))
	}
}
