package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const benchPayload = 3200 // bytes: an episode with its 768 dimensions and a little text

func benchRecord() Record {
	return Record{
		Kind: KindWrite, Form: FormEpisode, Lane: LaneNormal, Session: SessionID{1}, Sequence: 1,
		Space: "default", ID: []byte("0123456789abcdef"), Payload: make([]byte, benchPayload),
	}
}

// BenchmarkAppend is one durable record, of 1, 8 and 128 a batch. BenchmarkBareFile is what the disk alone takes for the
// same bytes; the difference is the journal.
func BenchmarkAppend(b *testing.B) {
	for _, batch := range []int{1, 8, 128} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			j := open(b, Config{MaxBytes: 1 << 40, ReserveBytes: 1})
			p := j.NewProducer()
			r := benchRecord()
			b.SetBytes(benchPayload)
			b.ReportAllocs()
			ctx := b.Context()
			n := 0
			for b.Loop() {
				r.Time = 0
				if err := p.Append(&r); err != nil {
					b.Fatal(err)
				}
				if n++; n%batch == 0 {
					if _, err := p.Wait(ctx, r.Index); err != nil {
						b.Fatal(err)
					}
					if j.Stats().Generations > 8 { // so that a long run does not fill the disk
						if err := j.Release(ctx, j.Generations()[0].Number, Tally{}); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
		})
	}
}

func BenchmarkBareFile(b *testing.B) {
	for _, batch := range []int{1, 8, 128} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			buf := make([]byte, batch*benchPayload)
			b.SetBytes(benchPayload)
			n := 0
			for b.Loop() {
				if n++; n%batch != 0 {
					continue
				}
				if _, err := f.Write(buf); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				if n%(1<<16) == 0 {
					if err := f.Truncate(0); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkFrameEncode(b *testing.B) {
	r := benchRecord()
	s := newSeal(testJournal, 1)
	var buf []byte
	b.SetBytes(benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendFrame(buf[:0], s, &r, 0, checksum(r.Payload))
	}
}

// BenchmarkScan is a start's reading of one full generation.
func BenchmarkScan(b *testing.B) {
	seg := newSegment(1)
	for len(seg.data) < defaultGenerationBytes {
		seg.batch(benchRecord(), benchRecord(), benchRecord(), benchRecord())
	}
	b.SetBytes(int64(len(seg.data)))
	b.ReportAllocs()
	for b.Loop() {
		s, err := scanSegment("segment", seg.data, testJournal, 1, func(*Record) error { return nil })
		if err != nil || len(s.Damages) != 0 {
			b.Fatal(err, s.Damages)
		}
	}
}

// BenchmarkScanHostile is a segment that looks like a frame at every fourth byte and holds none.
func BenchmarkScanHostile(b *testing.B) {
	data := make([]byte, 0, defaultGenerationBytes)
	for len(data) < defaultGenerationBytes {
		data = append(data, magic...)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if s, err := scanSegment("segment", data, testJournal, 1, nil); err != nil || s.Records != 0 {
			b.Fatal(err, s.Records)
		}
	}
}
