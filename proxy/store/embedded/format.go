package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"strings"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// What stands on disk. These never change within format version 1; doc.go draws them.
const (
	formatVersion = 1
	vectorBytes   = 4 * store.Dimensions
	headerBytes   = 64 // of a segment: its vectors stay aligned to cache lines

	formatName     = "FORMAT"
	indexName      = "index.db"
	indexNew       = "index.tmp"
	indexDamaged   = "index.damaged"
	formatNew      = "FORMAT.tmp"
	vectorsPrefix  = "vectors-"
	bodiesPrefix   = "bodies-"
	sketchesPrefix = "sketches-"
	segmentSuffix  = ".seg"
	asideSuffix    = ".aside"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func crcUpdate(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

// layout is how rows are spread over segments: row r is number r & mask of segment r >> shift.
type layout struct {
	rows  uint32 // in one segment, a power of two
	shift uint
	mask  uint32
}

func newLayout(rows int) layout {
	//nolint:gosec // Validate and parseFormat keep rows between 2^3 and 2^20
	return layout{rows: uint32(rows), shift: uint(bits.TrailingZeros32(uint32(rows))), mask: uint32(rows - 1)}
}

func (l layout) segmentOf(row uint32) int { return int(row >> l.shift) }
func (l layout) placeOf(row uint32) int   { return int(row & l.mask) }
func (l layout) first(segment int) uint32 { return uint32(segment) << l.shift } //nolint:gosec // rows have 32 bits

// errFormat says that the FORMAT file holds what no version wrote.
var errFormat = errors.New("damaged")

const formatText = "engram-sidecar embedded store\nversion %d\ndimensions %d\nsegment-rows %d\n"

// readFormat returns the layout that the directory was created with, and false where it holds no FORMAT file.
func readFormat(dir string) (layout, bool, error) {
	path := filepath.Join(dir, formatName)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return layout{}, false, nil
	case err != nil:
		return layout{}, false, fmt.Errorf("read the store's format: %w", err)
	}
	l, err := parseFormat(string(b))
	if err != nil {
		return layout{}, false, fmt.Errorf("%s: %w", path, err)
	}
	return l, true, nil
}

func parseFormat(text string) (layout, error) {
	var version, dimensions, rows int
	if n, _ := fmt.Sscanf(text, formatText, &version, &dimensions, &rows); n < 1 {
		return layout{}, fmt.Errorf("%w: expected %q, got %q; restore the file, or remove it to have it written anew", errFormat,
			strings.SplitN(formatText, "\n", 2)[0], firstLine(text))
	}
	if version > formatVersion {
		return layout{}, fmt.Errorf("%w: version %d, this program knows %d; nothing was touched, start a newer program",
			wal.ErrNewerFormat, version, formatVersion)
	}
	if dimensions != store.Dimensions || (&Config{SegmentRows: rows}).Validate() != nil || rows == 0 {
		return layout{}, fmt.Errorf("%w: expected %d dimensions and a power of two as segment-rows, got %d and %d; restore the file, "+
			"or remove it to have it written anew", errFormat, store.Dimensions, dimensions, rows)
	}
	return newLayout(rows), nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s[:min(len(s), 64)]
}

// writeFormat puts the FORMAT file in place, whole or not at all.
func writeFormat(d *disk, dir string, l layout) error {
	temporary := filepath.Join(dir, formatNew)
	f, err := d.open(temporary)
	if err != nil {
		return fmt.Errorf("create the store's format: %w", err)
	}
	text := fmt.Appendf(nil, formatText, formatVersion, store.Dimensions, l.rows)
	err = errors.Join(d.cut(f, int64(len(text))), d.write(f, text, 0), d.sync(f), f.Close())
	if err == nil {
		err = d.rename(temporary, filepath.Join(dir, formatName))
	}
	if err == nil {
		err = d.syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write the store's format: %w", err)
	}
	return nil
}

var (
	vectorsMagic  = [8]byte{'E', 'N', 'G', 'R', 'A', 'M', 'V', '1'}
	bodiesMagic   = [8]byte{'E', 'N', 'G', 'R', 'A', 'M', 'B', '1'}
	sketchesMagic = [8]byte{'E', 'N', 'G', 'R', 'A', 'M', 'S', '1'}
)

// segmentHeader is the first 64 bytes of both files of a segment. It says what the file is; the rows behind it are
// believed by their own checksums alone.
func segmentHeader(magic [8]byte, number int, l layout) []byte {
	b := make([]byte, headerBytes)
	copy(b, magic[:])
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint32(b[12:], uint32(number)) //nolint:gosec // at most 2^29 segments
	binary.LittleEndian.PutUint32(b[16:], store.Dimensions)
	binary.LittleEndian.PutUint32(b[20:], l.rows)
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
	return b
}

// layoutOf reads the layout out of a segment's header, for a directory whose FORMAT file is lost.
func layoutOf(path string) (layout, bool) {
	f, err := os.Open(path)
	if err != nil {
		return layout{}, false
	}
	defer f.Close() //nolint:errcheck // only read
	b := make([]byte, headerBytes)
	if _, err := f.ReadAt(b, 0); err != nil || checksum(b[:60]) != binary.LittleEndian.Uint32(b[60:]) {
		return layout{}, false
	}
	known := bytes.HasPrefix(b, vectorsMagic[:]) || bytes.HasPrefix(b, bodiesMagic[:])
	rows := int(binary.LittleEndian.Uint32(b[20:]))
	if !known || rows == 0 || (&Config{SegmentRows: rows}).Validate() != nil {
		return layout{}, false
	}
	return newLayout(rows), true
}
