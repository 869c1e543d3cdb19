package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Scanned is what a read-only pass over one generation found. Scanning changes nothing on disk, so that it may run on a
// live directory and before any decision about repair.
type Scanned struct {
	Number  uint64
	Path    string   // of the segment file
	Size    int64    // of the segment file
	Head    *Head    // nil where the first record is damaged
	Base    uint64   // index of the first whole record, 0 where there is none
	Offsets []uint32 // offset of the frame of index Base+i in the segment, 0 where it is damaged or missing
	Records int      // whole records
	End     int64    // just behind the last whole frame
	Last    uint64   // batch of the last frame whose header is good, be its payload damaged; 0 where there is none

	Damages []ScannedDamage // in the order of the file

	first     uint64 // index of the first frame whose header is good
	lastFirst uint64 // index of the first record of batch Last
	lastAt    int64  // offset of the last frame whose header is good
}

// ScannedDamage is a stretch of bytes that are no frame, or indexes that are missing between two frames.
type ScannedDamage struct{ DamageError }

// LastIndex is the index of the last whole record, 0 where there is none.
func (s *Scanned) LastIndex() uint64 {
	if s.Base == 0 {
		return 0
	}
	return s.Base + uint64(len(s.Offsets)) - 1
}

// lastBatch is where the entries of the last batch lie. They alone can be in the page cache and not on the disk.
func (s *Scanned) lastBatch() (from, to int64) {
	for i, off := range s.Offsets {
		if off != 0 && s.Base+uint64(i) >= s.lastFirst {
			return max(0, int64(off)-binary.MaxVarintLen32), s.End
		}
	}
	return s.End, s.End
}

// segmentName is how tidwall/wal names the one segment of a generation.
const segmentName = "00000000000000000001"

// SegmentPath is the one segment of a generation.
func SegmentPath(journalDir string, number uint64) string {
	return filepath.Join(GenerationDir(journalDir, number), segmentName)
}

// maxSegmentBytes is more than any segment can be long: a whole generation and the batch that finishes it.
const maxSegmentBytes = maxGenerationBytes + maxBatchBytes + MaxFrame

// GenerationDir is the directory of a generation below the journal's.
func GenerationDir(journalDir string, number uint64) string {
	return filepath.Join(journalDir, fmt.Sprintf("g%020d", number))
}

// ParseGenerationDir reads a generation's number from the name of its directory.
func ParseGenerationDir(name string) (uint64, bool) {
	var n uint64
	if len(name) != 21 || name[0] != 'g' {
		return 0, false
	}
	for _, c := range name[1:] {
		if c < '0' || c > '9' || n > (1<<64-1-9)/10 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, n > 0
}

// ScanGeneration reads generation number below journalDir and calls visit for each whole record, in order. The record
// and its bytes are valid during the call only. The error is visit's, or the file system's, or wraps ErrNewerFormat;
// damage is no error but a part of the result. A missing or empty segment is a Scanned without records.
func ScanGeneration(journalDir string, journal [16]byte, number uint64, visit func(*Record) error) (*Scanned, error) {
	return scanFile(SegmentPath(journalDir, number), journal, number, maxSegmentBytes, visit)
}

// scanFile scans the first limit bytes of a segment and names the rest as damage.
func scanFile(path string, journal [16]byte, number uint64, limit int64, visit func(*Record) error) (*Scanned, error) {
	data, size, err := readSegment(path, limit)
	if err != nil {
		return nil, fmt.Errorf("read generation %d: %w", number, err)
	}
	s, err := scanSegment(path, data, journal, number, visit)
	if err == nil && size > int64(len(data)) {
		s.Size = size
		s.Damages = append(s.Damages, ScannedDamage{DamageError{
			File: path, Offset: int64(len(data)), Length: size - int64(len(data)), Reason: "longer than any segment can be",
		}})
	}
	return s, err
}

// readSegment reads the first limit bytes of a segment: what lies there need not be ours. A missing one has none.
func readSegment(path string, limit int64) (data []byte, size int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() //nolint:errcheck // it was only read from
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data = make([]byte, min(st.Size(), limit))
	n, err := io.ReadFull(f, data)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, 0, err
	}
	return data[:n], max(st.Size(), int64(n)), nil
}
