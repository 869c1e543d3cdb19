package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/store/embedded"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// alone drives something that has no server: it makes batch after batch, and counts.
func alone(ctx context.Context, load Load, batch int, tell func(event), do func() error) error {
	if batch < 1 {
		return fmt.Errorf("bench: a batch of %d records: expected at least 1", batch)
	}
	var total, acked uint64
	share := newHistogram()
	round := func() error {
		began := time.Now()
		err := do()
		total += uint64(batch) //nolint:gosec // at least 1
		share.add(time.Since(began))
		return err
	}
	for began := time.Now(); time.Since(began) < load.Warmup; {
		if err := round(); err != nil {
			return err
		}
	}
	share = newHistogram()
	tell(event{Begun: true})
	before, began, told := total, time.Now(), time.Now()
	for time.Since(began) < load.Duration {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := round(); err != nil {
			return err
		}
		if time.Since(told) > tellEvery {
			told = time.Now()
			tell(event{Acked: total - before})
		}
	}
	seconds := time.Since(began).Seconds()
	tell(event{Ended: true})
	acked = total - before
	text, err := merged([]*histogram{share})
	if err != nil {
		return err
	}
	tell(event{Result: &measured{Acked: acked, Total: total, Seconds: seconds, Histogram: text}})
	return nil
}

// aloneFile appends and syncs the bytes of a batch of records to a bare file.
func aloneFile(ctx context.Context, dir string, load Load, batch int, tell func(event)) error {
	f, err := openGroupFile(dir)
	if err != nil {
		return err
	}
	defer f.file.Close() //nolint:errcheck // what counts was synced
	var bytes []byte
	for i := range batch {
		bytes = append(bytes, episodeOf(load.Size, uint64(i))...)
	}
	return alone(ctx, load, batch, tell, func() error { return f.write(bytes) })
}

// aloneJournal hands batches of records to a journal without anything around it, each while the one before is synced, as the
// edge does: a batch's time is that from one to the next.
func aloneJournal(ctx context.Context, dir string, load Load, batch int, tell func(event)) error {
	at := wal.Position{Journal: wal.NewFormat().Journal, Generation: 1, Index: 1, Batch: 1}
	path := filepath.Join(dir, "journal")
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	j, err := wal.Open(wal.Config{Dir: path, MaxBytes: 1 << 40, ReserveBytes: 1}, at)
	if err != nil {
		return err
	}
	next, synced := recordsOf(&load, batch), recordsOf(&load, batch)
	p, n := j.NewProducer(), 0
	err = alone(ctx, load, batch, tell, func() error {
		for i := range next {
			n++
			next[i].Index, next[i].Batch, next[i].Time, next[i].Sequence = 0, 0, 0, uint64(n) //nolint:gosec // it counts up from 1
		}
		if err := p.AppendAll(next); err != nil {
			return err
		}
		next, synced = synced, next
		if n == batch { // the first: there is none before it
			return nil
		}
		_, err := p.Wait(ctx, next[batch-1].Index)
		return err
	})
	if err != nil {
		return err
	}
	return j.Close()
}

// aloneEmbedded puts batches of records into an embedded store.
func aloneEmbedded(ctx context.Context, dir string, load Load, batch int, tell func(event)) error {
	s, err := embedded.Open(filepath.Join(dir, "store"), embedded.Config{})
	if err != nil {
		return err
	}
	records, n := recordsOf(&load, batch), uint64(0)
	err = alone(ctx, load, batch, tell, func() error {
		for i := range records {
			n++
			records[i].Index, records[i].Time, records[i].ID = n, time.Now().UnixNano(), appendID(nil, 0, n)
		}
		for _, err := range s.Put(ctx, records) {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.Close()
}

func recordsOf(load *Load, n int) []wal.Record {
	spaces, records := spacesOf(load), make([]wal.Record, n)
	for i := range records {
		records[i] = wal.Record{
			Kind: wal.KindWrite, Form: wal.FormEpisode, Lane: wal.LaneNormal, Session: wal.SessionID{1}, Sequence: 1,
			Space: spaces[i%len(spaces)], ID: appendID(nil, 0, uint64(i)),
			Payload: episodeOf(load.Size, uint64(i)),
		}
	}
	return records
}
