package wal

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdLockEnv); dir != "" {
		os.Exit(holdLock(dir))
	}
	goleak.VerifyTestMain(m)
}

var testJournal = [16]byte{1, 2, 3}

// fresh is the position of a directory that holds nothing.
func fresh() Position { return Position{Journal: testJournal, Generation: 1, Index: 1, Batch: 1} }

// open opens a journal in a fresh directory, unless cfg names one, and closes it at the end of the test: in good order,
// unless the test has seen it fail.
func open(t testing.TB, cfg Config) *Journal { t.Helper(); return openAt(t, cfg, fresh()) }

func openAt(t testing.TB, cfg Config, at Position) *Journal {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	j, err := Open(cfg, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		failed := j.Err()
		if err := j.Close(); err != nil && !errors.Is(failed, ErrFailed) {
			t.Error(err)
		}
	})
	return j
}

// write is a record of session s that clients could have sent.
func write(s byte, sequence uint64, payload []byte) Record {
	return Record{
		Kind: KindWrite, Form: FormEpisode, Lane: LaneNormal, Session: SessionID{s}, Sequence: sequence,
		Space: "default", ID: []byte{'m', s, byte(sequence)}, Payload: payload,
	}
}

// put makes one write durable and returns it.
func put(t testing.TB, j *Journal, s byte, sequence uint64, size int) Record {
	t.Helper()
	r := write(s, sequence, fill(sequence, size))
	if _, err := j.Write(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// fill is size bytes that depend on seed.
func fill(seed uint64, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		seed = seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(seed >> 56)
	}
	return b
}

// segment builds a segment in memory, byte for byte as the journal writes it: see TestSegmentIsWhatTheJournalWrites.
type segment struct {
	data       []byte
	seal       seal
	index      uint64 // the next record's
	number     uint64 // the next batch's
	boundaries []int  // where the entries begin, and the end
	records    []Record
}

func newSegment(generation uint64) *segment {
	s := &segment{seal: newSeal(testJournal, generation), index: 1, number: 1, boundaries: []int{0}}
	head := Head{Version: FormatVersion, Journal: testJournal, Generation: generation}
	s.batch(Record{Kind: KindHead, Time: 1, Payload: head.append(nil)})
	return s
}

func (s *segment) batch(records ...Record) *segment {
	for place, r := range records {
		r.Index, r.Batch = s.index, s.number
		s.entry(appendFrame(nil, s.seal, &r, uint32(place), checksum(r.Payload)))
		s.records = append(s.records, r)
		s.index++
	}
	s.number++
	return s
}

func (s *segment) entry(frame []byte) {
	s.data = binary.AppendUvarint(s.data, uint64(len(frame)))
	s.data = append(s.data, frame...)
	s.boundaries = append(s.boundaries, len(s.data))
}

// small is a segment of one generation with five batches of 1, 1, 2, 1 and 3 records behind the head's.
func small() *segment {
	s := newSegment(1)
	n := uint64(0)
	for _, count := range []int{1, 2, 1, 3} {
		var records []Record
		for range count {
			n++
			records = append(records, write(7, n, fill(n, 40+int(n)*11)))
		}
		s.batch(records...)
	}
	return s
}

// scan scans bytes as generation 1, without a file.
func scan(t testing.TB, data []byte, visit func(*Record) error) *Scanned {
	t.Helper()
	s, err := scanSegment("segment", data, testJournal, 1, visit)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// scanDir scans a generation on disk and collects its records.
func scanDir(t testing.TB, dir string, number uint64) (*Scanned, []Record) {
	t.Helper()
	var records []Record
	s, err := ScanGeneration(dir, testJournal, number, func(r *Record) error {
		records = append(records, *r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, records
}

func readSegmentFile(t testing.TB, dir string, number uint64) []byte {
	t.Helper()
	b, err := os.ReadFile(SegmentPath(dir, number))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// placeSegment writes a segment where generation number of dir belongs.
func placeSegment(t testing.TB, dir string, number uint64, data []byte) string {
	t.Helper()
	path := SegmentPath(dir, number)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// generationsOn lists the generations of a directory, ascending.
func generationsOn(t testing.TB, dir string) []uint64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var numbers []uint64
	for _, e := range entries {
		if n, ok := ParseGenerationDir(e.Name()); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers
}
