package wal

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// hurt is something that happens to the bytes of a segment. Frames are named by index, which is 1 for the head.
type hurt func(seg *segment, data []byte) []byte

// The offsets in data are those of seg: what removes or inserts bytes comes last.
func inHeader(index int) hurt {
	return func(seg *segment, data []byte) []byte { data[seg.boundaries[index-1]+2+offIndex] ^= 1; return data }
}

func inLength(index int) hurt {
	return func(seg *segment, data []byte) []byte { data[seg.boundaries[index-1]] = 0; return data }
}

func inPayload(index int) hurt {
	return func(seg *segment, data []byte) []byte { data[seg.boundaries[index]-1] ^= 1; return data }
}

func cutIn(index int) hurt {
	return func(seg *segment, data []byte) []byte { return data[:seg.boundaries[index]-1] }
}

func removed(index int) hurt {
	return func(seg *segment, data []byte) []byte {
		return slices.Delete(data, seg.boundaries[index-1], seg.boundaries[index])
	}
}

func doubled(index int) hurt {
	return func(seg *segment, data []byte) []byte {
		from, to := seg.boundaries[index-1], seg.boundaries[index]
		return slices.Insert(data, to, seg.data[from:to]...)
	}
}

// zeroed blots out everything from one frame to another, both included.
func zeroed(first, last int) hurt {
	return func(seg *segment, data []byte) []byte {
		clear(data[seg.boundaries[first-1]:seg.boundaries[last]])
		return data
	}
}

// oneBatch is a generation that never got further than its first batch.
func oneBatch() *segment {
	seg := &segment{seal: newSeal(testJournal, 1), index: 1, number: 1, boundaries: []int{0}}
	head := Head{Version: FormatVersion, Journal: testJournal, Generation: 1}
	return seg.batch(Record{Kind: KindHead, Payload: head.append(nil)}, write(1, 1, fill(1, 60)), write(1, 2, fill(2, 60)))
}

// lost is a damage as the table below names it: the indexes that are gone, 0 where they cannot be known or none are.
type lost struct {
	first, last uint64
	torn        bool
}

// The batches of small are {1} {2} {3 4} {5} {6 7 8}.
func TestTornOrRotten(t *testing.T) {
	for _, c := range []struct {
		name    string
		seg     *segment
		hurts   []hurt
		follow  bool // the generation before is known to end at index 0
		damages []lost
		cut     int // the first record that TornAt cuts, 0 where it finds nothing to cut
	}{
		{name: "nothing", seg: small()},
		{name: "payload of the last record", seg: small(), hurts: []hurt{inPayload(8)}, damages: []lost{{8, 8, true}}, cut: 8},
		{name: "header of the last record", seg: small(), hurts: []hurt{inHeader(8)}, damages: []lost{{0, 0, true}}, cut: 8},
		{name: "last record cut short", seg: small(), hurts: []hurt{cutIn(8)}, damages: []lost{{8, 8, true}}, cut: 8},
		{name: "payload in the last batch, whole frames behind", seg: small(), hurts: []hurt{inPayload(7)}, damages: []lost{{7, 7, true}}, cut: 7},
		{name: "header in the last batch, whole frames behind", seg: small(), hurts: []hurt{inHeader(7)}, damages: []lost{{7, 7, true}}, cut: 7},
		{name: "first frame of the last batch", seg: small(), hurts: []hurt{inHeader(6)}, damages: []lost{{6, 6, true}}, cut: 6},
		{name: "first frames of the last batch", seg: small(), hurts: []hurt{zeroed(6, 7)}, damages: []lost{{6, 7, true}}, cut: 6},
		{name: "two places in the last batch", seg: small(), hurts: []hurt{inPayload(6), inHeader(8)}, damages: []lost{{6, 6, true}, {0, 0, true}}, cut: 6},
		{name: "nothing behind", seg: small(), hurts: []hurt{zeroed(6, 8)}, damages: []lost{{0, 0, true}}, cut: 6},
		{name: "missing in the last batch", seg: small(), hurts: []hurt{removed(7)}, damages: []lost{{7, 7, true}}, cut: 7},
		{name: "all of it zeros", seg: small(), hurts: []hurt{zeroed(1, 8)}, damages: []lost{{0, 0, true}}, cut: 1},

		{name: "payload in an earlier batch", seg: small(), hurts: []hurt{inPayload(5)}, damages: []lost{{5, 5, false}}},
		{name: "header in an earlier batch", seg: small(), hurts: []hurt{inHeader(3)}, damages: []lost{{3, 3, false}}},
		{name: "missing in an earlier batch", seg: small(), hurts: []hurt{removed(4)}, damages: []lost{{4, 4, false}}},
		{name: "from an earlier batch into the last", seg: small(), hurts: []hurt{zeroed(5, 7)}, damages: []lost{{5, 7, false}}},
		{name: "an earlier batch, and the last", seg: small(), hurts: []hurt{inPayload(2), inHeader(7)}, damages: []lost{{2, 2, false}, {7, 7, true}}, cut: 7},
		{name: "an earlier batch, and of the last only a header", seg: small(), hurts: []hurt{inPayload(5), zeroed(7, 8), inPayload(6)}, damages: []lost{{5, 5, false}, {6, 6, true}, {0, 0, true}}, cut: 6},

		{name: "a length, whose frame is whole", seg: small(), hurts: []hurt{inLength(4)}, damages: []lost{{0, 0, false}}},
		{name: "a length in the last batch, whose frame is whole", seg: small(), hurts: []hurt{inLength(7)}, damages: []lost{{0, 0, false}}},
		{name: "a length in the last batch and its payload", seg: small(), hurts: []hurt{inLength(7), inPayload(7)}, damages: []lost{{0, 0, false}, {7, 7, true}}, cut: 7},
		{name: "a frame twice", seg: small(), hurts: []hurt{doubled(5)}, damages: []lost{{0, 0, false}}},

		{name: "the head, nobody knows what comes before", seg: small(), hurts: []hurt{inHeader(1)}, damages: []lost{{0, 0, false}}},
		{name: "the head", seg: small(), hurts: []hurt{inHeader(1)}, follow: true, damages: []lost{{1, 1, false}}},
		{name: "the head's payload", seg: small(), hurts: []hurt{inPayload(1)}, follow: true, damages: []lost{{1, 1, false}}},
		{name: "the head is missing", seg: small(), hurts: []hurt{removed(1)}, follow: true, damages: []lost{{1, 1, false}}},
		{name: "all but the last batch", seg: small(), hurts: []hurt{zeroed(1, 5)}, follow: true, damages: []lost{{1, 5, false}}},
		{name: "the front and something behind", seg: small(), hurts: []hurt{zeroed(1, 2), inPayload(4)}, follow: true, damages: []lost{{1, 2, false}, {4, 4, false}}},
		{name: "only batch: its head", seg: oneBatch(), hurts: []hurt{inHeader(1)}, follow: true, damages: []lost{{1, 1, true}}, cut: 1},
		{name: "only batch: its head, nobody knows what comes before", seg: oneBatch(), hurts: []hurt{inHeader(1)}, damages: []lost{{0, 0, false}}},
		{name: "only batch: its middle", seg: oneBatch(), hurts: []hurt{inHeader(2)}, damages: []lost{{2, 2, true}}, cut: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := bytes.Clone(c.seg.data)
			for _, h := range c.hurts {
				data = h(c.seg, data)
			}
			s, _ := visited(t, c.seg, data)
			if c.follow {
				s.Follow(1)
				s.Follow(1) // which changes nothing more
			}
			var got []lost
			for i := range s.Damages {
				d := &s.Damages[i]
				got = append(got, lost{d.First, d.Last, s.Torn(d)})
			}
			if !slices.Equal(got, c.damages) {
				t.Errorf("damages %v, want %v; %+v", got, c.damages, s.Damages)
			}
			want := s.Size
			if c.cut != 0 {
				want = int64(c.seg.boundaries[c.cut-1])
			}
			at, torn := s.TornAt()
			if at != want || torn != (c.cut != 0) {
				t.Errorf("torn %v at %d, want %v at %d", torn, at, c.cut != 0, want)
			}
			checkTrim(t, c.seg, data, s, at, c.follow)
		})
	}
}

// checkTrim compares what Trim makes of s with what a scan finds after the cut.
func checkTrim(t *testing.T, seg *segment, data []byte, s *Scanned, at int64, follow bool) {
	t.Helper()
	s.Trim(at)
	again, _ := visited(t, seg, data[:at])
	if follow {
		again.Follow(1)
	}
	if s.Size != again.Size || s.End != again.End || s.Records != again.Records || s.Base != again.Base ||
		len(s.Damages) != len(again.Damages) || (s.Head == nil) != (again.Head == nil) || !slices.Equal(s.Offsets, again.Offsets) {
		t.Errorf("trimmed %+v\nscanned again %+v", s, again)
	}
}

// Whatever is damaged: no record of a batch that a later header proves to have been synced is cut or called torn, and
// whatever else is damaged is cut.
func TestNothingAcknowledgedIsCut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seg := newSegment(1)
		n := uint64(0)
		for _, count := range rapid.SliceOfN(rapid.IntRange(1, 4), 0, 6).Draw(rt, "batches") {
			var records []Record
			for range count {
				n++
				records = append(records, write(1, n, fill(n, rapid.IntRange(1, 60).Draw(rt, "size"))))
			}
			seg.batch(records...)
		}
		data := bytes.Clone(seg.data)
		header := make([]bool, len(seg.records)) // good?
		proven := uint64(0)
		for i, r := range seg.records {
			switch rapid.SampledFrom([]string{"good", "good", "header", "payload", "length"}).Draw(rt, "frame") {
			case "header":
				inHeader(i+1)(seg, data)
				continue
			case "payload":
				inPayload(i+1)(seg, data)
			case "length":
				inLength(i+1)(seg, data)
			}
			header[i], proven = true, r.Batch
		}
		s, seen := visited(t, seg, data)
		s.Follow(1)
		batch := func(index uint64) uint64 { return seg.records[index-1].Batch }
		for i := range s.Damages {
			d := &s.Damages[i]
			if d.First != 0 && s.Torn(d) != (batch(d.First) == proven) {
				rt.Fatalf("torn %v, batch %d, last proven %d: %+v", s.Torn(d), batch(d.First), proven, d)
			}
		}
		at, _ := s.TornAt()
		for i, r := range seg.records {
			if int64(seg.boundaries[i]) >= at && r.Batch < proven {
				rt.Fatalf("cut at %d takes index %d of batch %d, and batch %d was begun", at, r.Index, r.Batch, proven)
			}
			if !seen[r.Index] && r.Batch < proven && !named(s, r.Index) {
				rt.Fatalf("index %d is lost and not named: %+v", r.Index, s.Damages)
			}
		}
		s.Trim(at)
		for i := range s.Damages {
			if s.Torn(&s.Damages[i]) {
				rt.Fatalf("left behind the cut: %+v", s.Damages[i])
			}
		}
	})
}

func named(s *Scanned, index uint64) bool {
	return slices.ContainsFunc(s.Damages, func(d ScannedDamage) bool { return d.First <= index && index <= d.Last })
}
