package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestReadAnySubset(t *testing.T) {
	j := open(t, Config{GenerationBytes: minGenerationBytes})
	var wrote []Record
	for n := range uint64(120) {
		wrote = append(wrote, put(t, j, byte(n%3), n+1, int(n*131%9000)))
	}
	rapid.Check(t, func(t *rapid.T) {
		var indexes []uint64
		var want []Record
		for _, r := range wrote {
			if rapid.Bool().Draw(t, "read") {
				indexes, want = append(indexes, r.Index), append(want, r)
			}
		}
		checkRead(t, j, indexes, want)
	})
}

// One call reads ahead at most readAhead bytes and skips over what nobody asked for; both limits are crossed here.
func TestReadOverLongStretches(t *testing.T) {
	j := open(t, Config{})
	var wrote []Record
	for n := range uint64(30) {
		wrote = append(wrote, put(t, j, 1, n+1, 100_000))
	}
	for _, step := range []int{1, 2, 7} {
		var indexes []uint64
		var want []Record
		for i := 0; i < len(wrote); i += step {
			indexes, want = append(indexes, wrote[i].Index), append(want, wrote[i])
		}
		checkRead(t, j, indexes, want)
	}
}

func TestReadSideBySideWithAppends(t *testing.T) {
	j := open(t, Config{GenerationBytes: minGenerationBytes})
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				for i := range j.Durable() {
					if err := j.Read([]uint64{i + 1}, func(*Record) error { return nil }); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for n := range uint64(60) {
		put(t, j, 1, n+1, 3000)
	}
	close(done)
	wg.Wait()
}

func TestReadWhatIsNotThere(t *testing.T) {
	j := open(t, Config{})
	r := put(t, j, 1, 1, 10)
	for _, index := range []uint64{0, r.Index + 1, 1 << 60} {
		n := 0
		err := j.Read([]uint64{index}, func(*Record) error { n++; return nil })
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), fmt.Sprint(index)) || n != 0 {
			t.Errorf("index %d: %v", index, err)
		}
	}
	if err := j.Read(nil, nil); err != nil {
		t.Error(err)
	}
	want := errors.New("enough")
	if err := j.Read([]uint64{1, r.Index}, func(*Record) error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
}

// Each read verifies what it brings: rot that comes after the start is found, named, and hides nothing else.
func TestReadFindsRot(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir})
	var wrote []Record
	for n := range uint64(5) {
		wrote = append(wrote, put(t, j, 1, n+1, 1000))
	}
	whole := readSegmentFile(t, dir, 1)
	offset := func(i int) int { return int(scan(t, whole, nil).Offsets[wrote[i].Index-1]) }
	for _, c := range []struct {
		name  string
		hurt  func(b []byte)
		names bool // session and sequence
	}{
		{"payload", func(b []byte) { b[offset(2)+500] ^= 1 }, true},
		{"header", func(b []byte) { b[offset(2)+offSession] ^= 1 }, false},
		{"zeros", func(b []byte) { clear(b[offset(2) : offset(2)+200]) }, false},
		{"another frame in its place", func(b []byte) { copy(b[offset(2):offset(3)-2], b[offset(1):offset(2)-2]) }, false},
	} {
		b := append([]byte(nil), whole...)
		c.hurt(b)
		if err := os.WriteFile(SegmentPath(dir, 1), b, 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		err := j.Read([]uint64{2, 3, 4, 5, 6}, func(r *Record) error { n++; return nil })
		var d *DamageError
		if !errors.As(err, &d) || !errors.Is(err, ErrDamaged) || d.First != 4 || d.Last != 4 || d.Offset != int64(offset(2)) || n != 2 {
			t.Errorf("%s: %v after %d records", c.name, err, n)
			continue
		}
		if named := d.Session == wrote[2].Session && d.Sequence == 3 && d.Kind == KindWrite; named != c.names {
			t.Errorf("%s: names session %v sequence %d", c.name, d.Session, d.Sequence)
		}
		checkRead(t, j, []uint64{5, 6}, wrote[3:5])
	}
	if err := os.Truncate(SegmentPath(dir, 1), int64(offset(4))); err != nil {
		t.Fatal(err)
	}
	if err := j.Read([]uint64{6}, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a file cut short: %v", err)
	}
	if err := os.Remove(SegmentPath(dir, 1)); err != nil {
		t.Fatal(err)
	}
	if err := j.Read([]uint64{6}, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file that is gone: %v", err)
	}
	if err := os.Mkdir(SegmentPath(dir, 1), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := j.Read([]uint64{5, 6}, nil); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

// badSector is a segment of which some bytes cannot be read.
type badSector struct {
	b        []byte
	from, to int64
}

func (s *badSector) ReadAt(p []byte, off int64) (int, error) {
	if off < s.to && off+int64(len(p)) > s.from {
		return 0, unix.EIO
	}
	n := copy(p, s.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func TestABadSectorHidesNoNeighbours(t *testing.T) {
	seg := small()
	s := scan(t, seg.data, nil)
	g := scannedGeneration(s, testJournal, 1)
	j := &Journal{}
	var read []uint64
	var bad []uint64
	for indexes := []uint64{1, 2, 3, 4, 5, 6, 7, 8}; len(indexes) > 0; {
		plan, err := j.plan(g, indexes)
		if err != nil {
			t.Fatal(err)
		}
		file := &badSector{b: seg.data, from: int64(seg.boundaries[3]) + 50, to: int64(seg.boundaries[3]) + 51}
		n, err := readStretch(file, g, plan, indexes, func(r *Record) error { read = append(read, r.Index); return nil })
		var d *DamageError
		if errors.As(err, &d) {
			bad = append(bad, d.First)
			n++
		} else if err != nil {
			t.Fatal(err)
		}
		indexes = indexes[n:]
	}
	if fmt.Sprint(read, bad) != "[1 2 3 5 6 7 8] [4]" {
		t.Errorf("read %v, bad %v", read, bad)
	}
}

// What a scan found damaged is known to a read without looking, and does not end the reads around it.
func TestReadKnowsWhatTheScanFound(t *testing.T) {
	dir := t.TempDir()
	seg := small()
	data := inPayload(4)(seg, append([]byte(nil), seg.data...))
	placeSegment(t, dir, 1, data)
	s, _ := scanDir(t, dir, 1)
	j := openAt(t, Config{Dir: dir}, Position{Journal: testJournal, Generation: 2, Index: 9, Batch: 6, Generations: []*Scanned{s}})
	var d *DamageError
	if err := j.Read([]uint64{3, 4, 5}, func(*Record) error { return nil }); !errors.As(err, &d) || d.First != 4 {
		t.Error(err)
	}
	checkRead(t, j, []uint64{3}, seg.records[2:3])
	checkRead(t, j, []uint64{5, 8}, []Record{seg.records[4], seg.records[7]})
}

func TestDamageErrorSaysWhose(t *testing.T) {
	d := &DamageError{File: "f", Offset: 7, First: 3, Last: 4, Session: SessionID{1}, Sequence: 9, Reason: "rot"}
	want := "journal damaged: f at offset 7: rot; index 3 to 4; session 01000000-0000-0000-0000-000000000000 sequence 9"
	if d.Error() != want {
		t.Errorf("%q", d.Error())
	}
	if got := (&DamageError{File: "f", Reason: "rot"}).Error(); got != "journal damaged: f at offset 0: rot" {
		t.Errorf("%q", got)
	}
}
