package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// visited scans data as generation 1 and checks that nothing is visited but the records of seg, whole and ascending. It
// tells which, by index.
func visited(t *testing.T, seg *segment, data []byte) (*Scanned, []bool) {
	t.Helper()
	seen, n, last := make([]bool, len(seg.records)+1), 0, uint64(0)
	s := scan(t, data, func(r *Record) error {
		if r.Index <= last || r.Index > uint64(len(seg.records)) {
			t.Fatalf("visited index %d behind %d, of %d records", r.Index, last, len(seg.records))
		}
		if !sameRecord(*r, seg.records[r.Index-1]) {
			t.Fatalf("index %d was never written so\ngot  %+v\nwant %+v", r.Index, r, seg.records[r.Index-1])
		}
		last, seen[r.Index] = r.Index, true
		n++
		return nil
	})
	if s.Records != n || s.LastIndex() != last || s.End > int64(len(data)) {
		t.Fatalf("visited %d up to index %d, but %+v", n, last, s)
	}
	for i, off := range s.Offsets {
		if (off != 0) != seen[s.Base+uint64(i)] {
			t.Fatalf("offset %d of index %d, visited %v", off, s.Base+uint64(i), seen[s.Base+uint64(i)])
		}
	}
	return s, seen
}

func TestScanWholeSegment(t *testing.T) {
	seg := small()
	s, _ := visited(t, seg, seg.data)
	if s.Records != len(seg.records) || len(s.Damages) != 0 || s.Head == nil || s.Head.Journal != testJournal {
		t.Errorf("%d of %d records, %+v", s.Records, len(seg.records), s)
	}
	if s.Base != 1 || s.Last != 5 || s.End != int64(len(seg.data)) || s.Size != s.End {
		t.Errorf("%+v", s)
	}
	if at, torn := s.TornAt(); torn || at != s.Size {
		t.Errorf("torn at %d of %d", at, s.Size)
	}
}

// A crash can cut the last write anywhere. What is left is the longest run of whole frames, and all else is torn.
func TestTornTailAtEveryByte(t *testing.T) {
	seg := small()
	for cut := range len(seg.data) + 1 {
		whole := 0
		for whole+1 < len(seg.boundaries) && seg.boundaries[whole+1] <= cut {
			whole++
		}
		s, _ := visited(t, seg, seg.data[:cut])
		if s.Records != whole || s.End != int64(seg.boundaries[whole]) {
			t.Fatalf("cut at %d: %d records up to byte %d, want %d up to %d", cut, s.Records, s.End, whole, seg.boundaries[whole])
		}
		at, torn := s.TornAt()
		if torn != (cut != seg.boundaries[whole]) || at != s.End {
			t.Fatalf("cut at %d: torn %v at %d, want the end of the last whole frame, %d", cut, torn, at, s.End)
		}
		s.Trim(at)
		again, _ := visited(t, seg, seg.data[:at])
		if len(s.Damages) != 0 || s.Size != again.Size || s.Records != again.Records || s.LastIndex() != again.LastIndex() {
			t.Fatalf("cut at %d: trimmed %+v, scanned again %+v", cut, s, again)
		}
	}
}

// foreignTails are bytes that may stand behind the last frame and are no record of this generation.
func foreignTails(seg *segment) map[string][]byte {
	tails := map[string][]byte{}
	for _, n := range []int{1, 2, 3, 75, 76, 77, 511, 512, 4096} {
		tails[fmt.Sprintf("%d zeros", n)] = make([]byte, n)
		tails[fmt.Sprintf("%d ones", n)] = bytes.Repeat([]byte{0xff}, n)
		tails[fmt.Sprintf("%d random", n)] = fill(uint64(n), n)
		tails[fmt.Sprintf("%d of magic", n)] = bytes.Repeat(magic, n/4+1)[:n]
		tails[fmt.Sprintf("%d continued varint", n)] = bytes.Repeat([]byte{0x80}, n)
	}
	foreign := func(journal [16]byte, generation, index, batch uint64) []byte {
		other := &segment{seal: newSeal(journal, generation), index: index, number: batch}
		other.batch(write(9, 1, fill(1, 60)), write(9, 2, fill(2, 60)))
		return other.data
	}
	end, last := seg.index, seg.number
	tails["another generation's next frames"] = foreign(testJournal, 2, end, last)
	tails["another journal's next frames"] = foreign([16]byte{9}, 1, end, last)
	tails["a length and no frame"] = append(binary.AppendUvarint(nil, 200), fill(5, 200)...)
	tails["a huge length"] = binary.AppendUvarint(nil, 1<<63)
	return tails
}

func TestForeignTailAtEachBoundary(t *testing.T) {
	seg := small()
	tails := foreignTails(seg)
	for k, boundary := range seg.boundaries {
		own := map[string][]byte{"its own first frames again": seg.data[:boundary]}
		if k > 0 { // stale frames of this generation, as a file system that reorders its blocks could bring back
			own["its last frame again"] = seg.data[seg.boundaries[k-1]:boundary]
		}
		for _, set := range []map[string][]byte{tails, own} {
			for name, tail := range set {
				if len(tail) == 0 {
					continue
				}
				data := append(seg.data[:boundary:boundary], tail...)
				s, _ := visited(t, seg, data)
				if s.Records != k || s.End != int64(boundary) {
					t.Fatalf("%s behind %d records: %d records up to %d, want %d", name, k, s.Records, s.End, boundary)
				}
				if at, torn := s.TornAt(); !torn || at != int64(boundary) {
					t.Fatalf("%s behind %d records: torn %v at %d, want %d", name, k, torn, at, boundary)
				}
			}
		}
	}
}

func TestZerosAreNamed(t *testing.T) {
	seg := small()
	s := scan(t, append(seg.data, make([]byte, 1000)...), nil)
	if len(s.Damages) != 1 || s.Damages[0].Reason != reasonZeros || s.Damages[0].Length != 1000 {
		t.Errorf("%+v", s.Damages)
	}
}

func TestVisitErrorEndsTheScan(t *testing.T) {
	want := errors.New("enough")
	if _, err := scanSegment("segment", small().data, testJournal, 1, func(*Record) error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
}

func TestScanGenerationFromDisk(t *testing.T) {
	dir := t.TempDir()
	if s, records := scanDir(t, dir, 1); s.Records != 0 || len(records) != 0 || s.Size != 0 || s.Last != 0 {
		t.Errorf("a missing generation: %+v", s)
	}
	placeSegment(t, dir, 1, nil)
	if s, _ := scanDir(t, dir, 1); s.Records != 0 || len(s.Damages) != 0 {
		t.Errorf("an empty segment: %+v", s)
	}
	seg := small()
	placeSegment(t, dir, 1, seg.data)
	s, records := scanDir(t, dir, 1)
	if len(records) != len(seg.records) || s.Path != SegmentPath(dir, 1) || s.Number != 1 {
		t.Errorf("%d records, %+v", len(records), s)
	}
	if err := os.MkdirAll(SegmentPath(dir, 2), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ScanGeneration(dir, testJournal, 2, nil); err == nil || !strings.Contains(err.Error(), "read generation 2") {
		t.Errorf("a directory in the segment's place: %v", err)
	}
}

func TestSegmentLongerThanAnyCanBe(t *testing.T) {
	seg := small()
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, append(bytes.Clone(seg.data), "more"...), 0o600); err != nil {
		t.Fatal(err)
	}
	for limit, damages := range map[int]int{len(seg.data) - 1: 2, len(seg.data): 1, len(seg.data) + 9: 1} {
		s, err := scanFile(path, testJournal, 1, int64(limit), nil)
		if err != nil || s.Size != int64(len(seg.data)+4) || len(s.Damages) != damages {
			t.Errorf("%v, size %d, %+v", err, s.Size, s.Damages)
			continue
		}
		if d := s.Damages[damages-1]; d.Offset+d.Length != s.Size {
			t.Errorf("limit %d: the last damage ends at %d of %d", limit, d.Offset+d.Length, s.Size)
		}
		if at, torn := s.TornAt(); !torn || at != s.End {
			t.Errorf("limit %d: torn %v at %d, want %d", limit, torn, at, s.End)
		}
	}
}

func TestGenerationDirNames(t *testing.T) {
	for _, n := range []uint64{1, 42, 1<<64 - 10} {
		name := filepath.Base(GenerationDir("d", n))
		if got, ok := ParseGenerationDir(name); !ok || got != n {
			t.Errorf("%s reads as %d, %v", name, got, ok)
		}
	}
	for _, name := range []string{
		"", "LOCK", "g00000000000000000000", "g0000000000000000001", "h00000000000000000001",
		"g0000000000000000000x", "g99999999999999999999", "g00000000000000000001.tmp",
	} {
		if n, ok := ParseGenerationDir(name); ok {
			t.Errorf("%q reads as generation %d", name, n)
		}
	}
}

// The segments that these tests build in memory are, byte for byte, those that the journal leaves on disk.
func TestSegmentIsWhatTheJournalWrites(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir})
	for n := range uint64(5) {
		put(t, j, 1, n+1, 50)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	_, records := scanDir(t, dir, 1)
	if len(records) != 6 {
		t.Fatal(len(records))
	}
	built := &segment{seal: newSeal(testJournal, 1), index: 1, number: 1}
	built.batch(records[0], records[1])
	for _, r := range records[2:] {
		built.batch(r)
	}
	if got := readSegmentFile(t, dir, 1); !bytes.Equal(got, built.data) {
		t.Errorf("the journal wrote\n%x\nthe test builds\n%x", got, built.data)
	}
}

// A scan with memory that was used before finds the same as one with memory of its own, be the segment shorter or longer
// than the last, cut short, or not there.
func TestScanBufferIsUsedAgain(t *testing.T) {
	long := newSegment(1)
	for n := range uint64(50) {
		long.batch(write(7, n+1, fill(n, 300)))
	}
	whole, cut := small(), small()
	dir := t.TempDir()
	var b ScanBuffer
	for i, data := range [][]byte{whole.data, long.data, cut.data[:len(cut.data)-7], nil, long.data[:1000], whole.data} {
		placeSegment(t, dir, 1, data)
		plain, want := scanDir(t, dir, 1)
		got, records, err := b.Scan(dir, testJournal, 1)
		if err != nil || !reflect.DeepEqual(got, plain) {
			t.Fatalf("%d: %+v, %v, want %+v", i, got, err, plain)
		}
		same(t, records, want)
	}
	if s, records, err := b.Scan(t.TempDir(), testJournal, 1); err != nil || s.Size != 0 || len(records) != 0 {
		t.Fatalf("nothing there: %+v, %d records, %v", s, len(records), err)
	}
}
