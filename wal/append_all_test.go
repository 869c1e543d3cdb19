package wal

import (
	"errors"
	"testing"
)

// Several records that are appended together share their fsync, where a batch can hold them.
func TestAppendAllIsOneBatch(t *testing.T) {
	var seen commits
	j := open(t, Config{OnCommit: seen.take})
	p := j.NewProducer()
	for round := range uint64(20) {
		records := make([]Record, 128)
		for i := range records {
			records[i] = write(1, round*128+uint64(i)+1, fill(uint64(i), 100))
		}
		if err := p.AppendAll(records); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(t.Context(), records[127].Index); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for i, batch := range seen.batches {
		want := 128
		if batch[0].Kind == KindHead {
			want = 129
		}
		if len(batch) != want {
			t.Errorf("commit %d holds %d records, want %d", i, len(batch), want)
		}
	}
	if len(seen.batches) != 20 {
		t.Errorf("%d commits, want 20", len(seen.batches))
	}
}

// More than a batch can hold goes into several, in its order.
func TestAppendAllOfMoreThanABatch(t *testing.T) {
	var seen commits
	j := open(t, Config{BatchBytes: 8 << 10, OnCommit: seen.take})
	records := make([]Record, 50)
	for i := range records {
		records[i] = write(1, uint64(i)+1, fill(uint64(i), 1500))
	}
	if err := j.NewProducer().AppendAll(records); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	sequence := uint64(0)
	for _, batch := range seen.batches {
		for _, r := range batch {
			if r.Kind != KindWrite {
				continue
			}
			if sequence++; r.Sequence != sequence {
				t.Fatalf("sequence %d is committed, want %d", r.Sequence, sequence)
			}
		}
	}
	if sequence != 50 || len(seen.batches) < 10 {
		t.Errorf("%d records in %d commits, want 50 in at least 10", sequence, len(seen.batches))
	}
}

// What no frame can hold refuses all: nothing of the others is kept.
func TestAppendAllRefusesWhatNoFrameHolds(t *testing.T) {
	j := open(t, Config{})
	p, next := j.NewProducer(), j.Stats().NextIndex
	if err := p.AppendAll([]Record{write(1, 1, nil), {Kind: KindWrite, ID: make([]byte, MaxID+1)}}); err == nil || j.Stats().NextIndex != next {
		t.Errorf("%v, next index %d, want %d", err, j.Stats().NextIndex, next)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.AppendAll([]Record{write(1, 1, nil)}); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want %v", err, ErrClosed)
	}
}
