package wal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// goldenRecords are what testdata/format-1 holds: one record of each kind, every field set.
func goldenRecords() []Record {
	session, id := SessionID{0xa0, 0xa1, 15: 0xaf}, []byte("memory-1")
	head := Head{
		Version: 1, Journal: testJournal, Generation: 7, Accepted: 41,
		Released: Tally{Accepted: 30, Delivered: 25, Dead: 3, Dropped: 1, Damaged: 1}, Live: []Span{{First: 2, Last: 4}, {First: 6, Last: 6}},
	}
	released := Released{Generation: 3, Tally: Tally{Accepted: 9, Delivered: 8, Dead: 1}}
	letter := CarriedLetter{Index: 17, Time: 1001, DiedAt: 1002, Attempts: 3, Reason: "embedding: too large", Payload: []byte("the episode")}
	return []Record{
		{Kind: KindHead, Time: 1, Payload: head.append(nil)},
		{Kind: KindSessionOpened, Lane: LaneHigh, Session: session, Space: "agents", Time: 2},
		{Kind: KindWrite, Form: FormEpisode, Lane: LaneHigh, Session: session, Sequence: 1, Space: "agents", ID: id, Payload: []byte("an episode"), Time: 3},
		{Kind: KindWrite, Form: FormRemember, Lane: LaneNormal, Space: "default", ID: id, Payload: []byte("a request"), Time: 4},
		{Kind: KindWrite, Form: FormExperience, Lane: LaneLow, Space: "default", ID: id, Time: 5},
		{Kind: KindSessionClosed, Session: session, Sequence: 1, Payload: CarriedSession{ClosedAt: 6}.Append(nil), Time: 6},
		{Kind: KindSessionExpired, Session: session, Sequence: 1, Time: 7},
		{Kind: KindCarriedSession, Lane: LaneLow, Session: session, Sequence: 9, Space: "agents", Payload: CarriedSession{ClosedAt: 8}.Append(nil), Time: 8},
		{Kind: KindCarriedLetter, Form: FormEpisode, Lane: LaneHigh, Session: session, Sequence: 5, Space: "agents", ID: id, Payload: letter.Append(nil), Time: 9},
		{Kind: KindReleased, Payload: released.append(nil), Time: 10},
		{Kind: KindSettled, Payload: Settled{Index: 17, Fate: Delivered, Again: true}.Append(nil), Time: 11},
	}
}

// A directory that format version 1 wrote is read for ever, and by what reads it now written byte for byte the same. If
// this fails, mend the code; the files in testdata/format-1 never change.
func TestGoldenFormat1(t *testing.T) {
	dir := filepath.Join("testdata", "format-1")
	format, err := ReadFormat(dir)
	if err != nil || format.Version != 1 || format.Journal != testJournal {
		t.Fatal(format, err)
	}
	want := &segment{seal: newSeal(testJournal, 7), index: 100, number: 50}
	records := goldenRecords()
	want.batch(records[:3]...).batch(records[3]).batch(records[4:]...)
	n := 0
	s, err := ScanGeneration(filepath.Join(dir, "journal"), format.Journal, 7, func(r *Record) error {
		if n >= len(want.records) || !sameRecord(*r, want.records[n]) {
			t.Errorf("record %d\ngot  %+v\nwant %+v", n, r, want.records[n])
		}
		n++
		return nil
	})
	if err != nil || n != len(records) || len(s.Damages) != 0 || s.Base != 100 || s.Last != 52 || s.Head == nil || len(s.Head.Live) != 2 {
		t.Errorf("%d records, %v, %+v", n, err, s)
	}
	on, err := os.ReadFile(SegmentPath(filepath.Join(dir, "journal"), 7))
	if err != nil || !bytes.Equal(on, want.data) {
		t.Errorf("%v; on disk\n%x\nwritten now\n%x", err, on, want.data)
	}
}
