package wal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// anyRecord draws a record of every kind, form and lane, with lengths at and between their bounds.
func anyRecord(t *rapid.T) Record {
	r := Record{
		Kind:     Kind(rapid.IntRange(1, int(kindEnd)-1).Draw(t, "kind")),
		Form:     Form(rapid.IntRange(0, int(formEnd)-1).Draw(t, "form")),
		Lane:     Lane(rapid.IntRange(0, 3).Draw(t, "lane")),
		Sequence: rapid.Uint64().Draw(t, "sequence"),
		Space:    string(rapid.SliceOfN(rapid.Byte(), 0, MaxSpace).Draw(t, "space")),
		ID:       rapid.SliceOfN(rapid.Byte(), 0, MaxID).Draw(t, "id"),
		Payload:  rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "payload"),
		Index:    rapid.Uint64Range(1, maxIndex).Draw(t, "index"),
		Batch:    rapid.Uint64Min(1).Draw(t, "batch"),
		Time:     rapid.Int64().Draw(t, "time"),
	}
	copy(r.Session[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "session"))
	return r
}

// sameRecord compares two records; empty and nil bytes are the same.
func sameRecord(a, b Record) bool {
	return a.Kind == b.Kind && a.Form == b.Form && a.Lane == b.Lane && a.Session == b.Session && a.Sequence == b.Sequence &&
		a.Space == b.Space && a.Index == b.Index && a.Batch == b.Batch && a.Time == b.Time &&
		bytes.Equal(a.ID, b.ID) && bytes.Equal(a.Payload, b.Payload)
}

func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyRecord(t)
		if err := checkRecord(&want); err != nil {
			t.Fatal(err)
		}
		place := uint32(rapid.Uint64Range(0, min(want.Index-1, 1<<32-1)).Draw(t, "place"))
		s := newSeal(testJournal, rapid.Uint64().Draw(t, "generation"))
		frame := appendFrame([]byte("before"), s, &want, place, checksum(want.Payload))[len("before"):]
		if len(frame) != frameSize(&want) {
			t.Fatalf("frame of %d bytes, frameSize says %d", len(frame), frameSize(&want))
		}
		var got Record
		h, err := parseHeader(append(frame[:len(frame):len(frame)], "behind"...), s, &got)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkPayload(frame, h, &got); err != nil {
			t.Fatal(err)
		}
		if h.size != len(frame) || h.first != want.Index-uint64(place) || !sameRecord(got, want) {
			t.Fatalf("%+v\ngot  %+v\nwant %+v", h, got, want)
		}
	})
}

// A frame of version 1, byte by byte. If this fails, journals on disk can no longer be read: mend the code, not the test.
func TestFrameBytesNeverChange(t *testing.T) {
	r := Record{
		Kind: KindWrite, Form: FormEpisode, Lane: LaneLow, Index: 0x0102030405060708, Batch: 0x1112131415161718,
		Session: SessionID{0xa0, 15: 0xaf}, Sequence: 0x2122232425262728, Time: 0x3132333435363738,
		Space: "sp", ID: []byte("id1"), Payload: []byte("payload"),
	}
	want := strings.Join([]string{
		"45676d4a",             // magic
		"01", "05", "01", "03", // version, kind, form, lane
		"0807060504030201",                 // index
		"1817161514131211",                 // batch
		"a00000000000000000000000000000af", // session
		"2827262524232221",                 // sequence
		"3837363534333231",                 // time
		"02", "00", "0300", "07000000",     // lengths of space, (reserved), id, payload
		"04000000",       // place in the batch
		"7370", "696431", // space, id
		"7069e3f4", "4307adab", // checksums of payload and header
		"7061796c6f6164", // payload
	}, "")
	got := hex.EncodeToString(appendFrame(nil, newSeal(testJournal, 9), &r, 4, checksum(r.Payload)))
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCheckRecordRefusesWhatNoFrameHolds(t *testing.T) {
	ok := write(1, 1, nil)
	for _, c := range []struct {
		name string
		with func(*Record)
		says string
	}{
		{"no kind", func(r *Record) { r.Kind = 0 }, "kind 0"},
		{"unknown kind", func(r *Record) { r.Kind = kindEnd }, "kind 11"},
		{"unknown form", func(r *Record) { r.Form = formEnd }, "form 4"},
		{"long space", func(r *Record) { r.Space = strings.Repeat("s", MaxSpace+1) }, "256 bytes: expected at most 255"},
		{"long id", func(r *Record) { r.ID = make([]byte, MaxID+1) }, "257 bytes: expected at most 256"},
		{"long payload", func(r *Record) { r.Payload = make([]byte, MaxPayload+1) }, "expected at most 16777216"},
	} {
		r := ok
		c.with(&r)
		if err := checkRecord(&r); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", c.name, err, c.says)
		}
	}
	if err := checkRecord(&ok); err != nil {
		t.Error(err)
	}
}

// reseal makes the header of the first frame in b good again after a test has changed it.
func reseal(b []byte, s seal) {
	body := minFrame + int(b[offSpaceLen]) + int(b[offIDLen]) + int(b[offIDLen+1])<<8
	le32(b[body-sumSize:], s.sum(b[:body-sumSize]))
}

func le32(b []byte, v uint32) { b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24) }

func TestParseHeaderRefuses(t *testing.T) {
	s := newSeal(testJournal, 1)
	whole := func() []byte {
		r := write(1, 1, []byte("payload"))
		r.Index, r.Batch = 5, 2
		return appendFrame(nil, s, &r, 0, checksum(r.Payload))
	}
	for _, c := range []struct {
		name string
		with func(b []byte) []byte
		want error
	}{
		{"nothing", func(b []byte) []byte { return nil }, errNoFrame},
		{"four bytes", func(b []byte) []byte { return b[:4] }, errNoFrame},
		{"another magic", func(b []byte) []byte { b[0]++; return b }, errNoFrame},
		{"cut in the fixed part", func(b []byte) []byte { return b[:fixedSize] }, errShort},
		{"cut in the names", func(b []byte) []byte { return b[:minFrame+1] }, errShort},
		{"an id too long", func(b []byte) []byte { b[offIDLen+1] = 2; return b }, errHeaderDamaged},
		{"a payload too long", func(b []byte) []byte { b[offPayload+3] = 2; return b }, errHeaderDamaged},
		{"another checksum", func(b []byte) []byte { b[offSequence]++; return b }, errHeaderDamaged},
		{"kind 0", func(b []byte) []byte { b[offKind] = 0; reseal(b, s); return b }, errHeaderDamaged},
		{"an unknown kind", func(b []byte) []byte { b[offKind] = byte(kindEnd); reseal(b, s); return b }, errHeaderDamaged},
		{"an unknown form", func(b []byte) []byte { b[offForm] = byte(formEnd); reseal(b, s); return b }, errHeaderDamaged},
		{"index 0", func(b []byte) []byte { b[offIndex] = 0; reseal(b, s); return b }, errHeaderDamaged},
		{"an absurd index", func(b []byte) []byte { b[offIndex+7] = 0xff; reseal(b, s); return b }, errHeaderDamaged},
		{"a place before the first index", func(b []byte) []byte { b[offPlace] = 5; reseal(b, s); return b }, errHeaderDamaged},
		{"a newer version", func(b []byte) []byte { b[offVersion] = FormatVersion + 1; reseal(b, s); return b }, errNewerVersion},
		{"sealed for another generation", func(b []byte) []byte { reseal(b, newSeal(testJournal, 2)); return b }, errHeaderDamaged},
		{"sealed for another journal", func(b []byte) []byte { reseal(b, newSeal([16]byte{9}, 1)); return b }, errHeaderDamaged},
	} {
		var r Record
		if _, err := parseHeader(c.with(whole()), s, &r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	var r Record
	if _, err := parseHeader(whole(), s, &r); err != nil {
		t.Error(err)
	}
}

func TestCheckPayloadFindsEachBit(t *testing.T) {
	s := newSeal(testJournal, 1)
	want := write(1, 1, fill(3, 50))
	want.Index = 1
	frame := appendFrame(nil, s, &want, 0, checksum(want.Payload))
	var r Record
	h, err := parseHeader(frame, s, &r)
	if err != nil {
		t.Fatal(err)
	}
	for bit := h.body * 8; bit < len(frame)*8; bit++ {
		frame[bit/8] ^= 1 << (bit % 8)
		if err := checkPayload(frame, h, &r); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d: %v", bit, err)
		}
		frame[bit/8] ^= 1 << (bit % 8)
	}
	if err := checkPayload(frame[:len(frame)-1], h, &r); !errors.Is(err, errShort) {
		t.Error(err)
	}
	if err := checkPayload(frame, h, &r); err != nil {
		t.Error(err)
	}
}

func TestEntrySizeIsWhatTidwallWrites(t *testing.T) {
	for _, size := range []int{minFrame, 127, 128, 16383, 16384, 1<<21 - 1, 1 << 21, MaxFrame} {
		s := segment{}
		s.entry(make([]byte, size))
		if got := entrySize(size); got != len(s.data) {
			t.Errorf("entrySize(%d) = %d, want %d", size, got, len(s.data))
		}
	}
}
