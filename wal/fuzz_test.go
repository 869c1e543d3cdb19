package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
)

// The corpus in testdata/fuzz holds what fuzzing found or came near to; the seeds below are whole and slightly damaged.

func FuzzParseHeader(f *testing.F) {
	seg := small()
	for i := range seg.records {
		f.Add(seg.data[seg.boundaries[i]+2:], false)
		f.Add(seg.data[seg.boundaries[i]+2:], true)
	}
	f.Add(bytes.Repeat(magic, 40), true)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		b = bytes.Clone(b)
		if sealed { // get past the checksum, which fuzzing cannot guess
			resealAll(b, seg.seal)
		}
		var r Record
		h, err := parseHeader(b, seg.seal, &r)
		if err != nil {
			return
		}
		if err := checkRecord(&r); err != nil || r.Index == 0 || h.first == 0 || h.first > r.Index || h.body > len(b) || h.size < h.body || h.size > MaxFrame {
			t.Fatalf("%+v %+v %v", h, r, err)
		}
		if checkPayload(b, h, &r) != nil {
			return
		}
		// What is read is written again as it was, but for the bytes that mean nothing yet.
		again := appendFrame(nil, seg.seal, &r, uint32(r.Index-h.first), checksum(r.Payload))
		if b[offVersion] == FormatVersion && b[offReserved] == 0 && !bytes.Equal(again, b[:h.size]) {
			t.Fatalf("read %x\nwrote %x", b[:h.size], again)
		}
	})
}

// resealAll makes every header in b good that has a possible size.
func resealAll(b []byte, s seal) {
	for p := 0; ; p++ {
		i := bytes.Index(b[p:], magic)
		if i < 0 {
			return
		}
		if p += i; len(b)-p < minFrame {
			return
		}
		body := minFrame + int(b[p+offSpaceLen]) + int(b[p+offIDLen]) + int(b[p+offIDLen+1])<<8
		if body <= len(b)-p {
			reseal(b[p:], s)
		}
	}
}

func FuzzScanSegment(f *testing.F) {
	seg := small()
	f.Add(seg.data, false)
	f.Add(seg.data, true)
	for i, cut := range seg.boundaries {
		f.Add(seg.data[:cut], false)
		f.Add(append(bytes.Clone(seg.data[:cut]), seg.data[seg.boundaries[i/2]:]...), i%2 == 0)
	}
	f.Add(longestEntry(), false)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		data = bytes.Clone(data)
		if sealed {
			resealAll(data, seg.seal)
		}
		last, batch, n := uint64(0), uint64(0), 0
		var plain ScanBuffer // what it keeps was copied out of memory that nobody overwrites
		b := ScanBuffer{size: 1 + len(data)%200}
		whole, inChunks := b.scanWhole(bytes.NewReader(data), "segment", testJournal, 1)
		s, err := scanSegment("segment", data, testJournal, 1, func(r *Record) error {
			if r.Index <= last || r.Batch < batch {
				t.Fatalf("index %d of batch %d behind index %d of batch %d", r.Index, r.Batch, last, batch)
			}
			last, batch = r.Index, r.Batch
			n++
			return errors.Join(plain.keep(r), checkRecord(r))
		})
		if inChunks != nil || (whole != nil && !reflect.DeepEqual(whole, s)) || (whole == nil && err == nil && n > 0 && len(s.Damages) == 0) {
			t.Fatalf("in chunks of %d: %+v, %v\nat once: %+v", b.size, whole, inChunks, s)
		}
		if whole != nil && !reflect.DeepEqual(b.records, plain.records) {
			t.Fatalf("in chunks of %d: %+v\nat once: %+v", b.size, b.records, plain.records)
		}
		if err != nil {
			return // of a newer version
		}
		checkScanned(t, s, data, last, n)
		s.Follow(1)
		at, torn := s.TornAt()
		if torn != (at < s.Size) || at < 0 || at > s.Size {
			t.Fatalf("torn %v at %d of %d", torn, at, s.Size)
		}
		s.Trim(at)
		again, err := scanSegment("segment", data[:at], testJournal, 1, nil)
		if err != nil || again.Records != s.Records || again.LastIndex() != s.LastIndex() {
			t.Fatalf("%v; trimmed %+v\nscanned again %+v", err, s, again)
		}
	})
}

// longestEntry is a segment of one record with the longest space and id, and a length that is padded as far as can be read.
func longestEntry() []byte {
	r := write(7, 1, fill(1, 150))
	r.Space, r.ID, r.Index, r.Batch = string(bytes.Repeat([]byte("s"), MaxSpace)), bytes.Repeat([]byte("i"), MaxID), 1, 1
	frame := appendFrame(nil, newSeal(testJournal, 1), &r, 0, checksum(r.Payload))
	var length []byte
	for rest := uint64(len(frame)); len(length) < binary.MaxVarintLen64-1; rest >>= 7 {
		length = append(length, byte(rest)|0x80)
	}
	return append(append(length, 0), frame...)
}

// checkScanned wants a result that hangs together: frames and damages lie in the file, one behind the other.
func checkScanned(t *testing.T, s *Scanned, data []byte, last uint64, n int) {
	t.Helper()
	if s.Records != n || s.LastIndex() != last || s.End > s.Size || len(s.Offsets) > maxRecords {
		t.Fatalf("visited %d up to %d, %+v", n, last, s)
	}
	whole := 0
	for _, off := range s.Offsets {
		if off != 0 {
			whole++
		}
	}
	end, index := int64(0), uint64(0)
	for i := range s.Damages {
		d := &s.Damages[i]
		if d.Offset < end || d.Length < 0 || d.end() > s.Size || d.First > d.Last || (d.First != 0 && d.First <= index) {
			t.Fatalf("damage %d of %+v", i, s.Damages)
		}
		end, index = d.end(), max(index, d.Last)
	}
	if whole != n || (len(data) > 0 && n == 0 && len(s.Damages) == 0) {
		t.Fatalf("%d whole frames, visited %d, %+v", whole, n, s)
	}
}

func FuzzDecodePayloads(f *testing.F) {
	head := Head{Version: 1, Journal: testJournal, Generation: 3, Accepted: 9, Live: []Span{{1, 2}, {4, 4}}}
	letter := CarriedLetter{Index: 5, Time: 6, DiedAt: 7, Attempts: 8, Reason: "refused", Payload: []byte("payload")}
	f.Add(head.append(nil))
	f.Add((&Released{Generation: 3, Tally: Tally{Accepted: 2, Delivered: 2}}).append(nil))
	f.Add(CarriedSession{ClosedAt: 1}.Append(nil))
	f.Add(letter.Append(nil))
	f.Add(Settled{Index: 4, Fate: Dropped, Again: true}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(what string, err error, again []byte) {
			if err == nil && !bytes.Equal(b, again) {
				t.Fatalf("%s: read %x\nwrote %x", what, b, again)
			}
		}
		if h, err := DecodeHead(b); err == nil {
			same("head", err, h.append(nil))
		}
		r, err := DecodeReleased(b)
		same("released", err, r.append(nil))
		c, err := DecodeCarriedSession(b)
		same("carried session", err, c.Append(nil))
		l, err := DecodeCarriedLetter(b)
		same("carried letter", err, l.Append(nil))
		if s, err := DecodeSettled(b); err == nil && b[9] <= 1 { // any other value of the flag is read as 1
			same("settled", err, s.Append(nil))
		}
		ReadIdentity(b)
	})
}
