package wal

import (
	"errors"
	"fmt"
	"time"
)

// commitLoop is the one writer of the journal. It takes all that arrived while the last fsync ran, writes it as one batch,
// syncs once, and tells everyone. It ends when the journal is closed and all is written, or at the first storage failure.
// It begins in cur, or where there was no room for that, as soon as there is.
func (j *Journal) commitLoop(cur *generation) {
	defer close(j.ended)
	if cur == nil {
		cur = j.resume()
	}
	spare := &batch{}
	for cur != nil {
		b := j.take(spare)
		if b == nil {
			if !errors.Is(j.Err(), ErrFailed) { // after a failure there is no further call on the file
				j.endGeneration(cur)
			}
			return
		}
		var err error
		cur, err = j.commitIn(cur, b)
		switch {
		case errors.Is(err, errNoRoom):
			cur = j.goOnElsewhere(cur, b, err)
		case err != nil:
			j.failBatch(b, err)
			return
		case b.ends:
			j.endGeneration(cur)
		}
		b.reset()
		spare = b
	}
}

// take waits for records, and puts spare in the place of the batch that it returns; nil when the journal is closed and
// nothing is left, or has failed.
func (j *Journal) take(spare *batch) *batch {
	for {
		j.mu.Lock()
		j.writing = 0
		b := j.filling
		if errors.Is(j.state, ErrFailed) || (b.empty() && errors.Is(j.state, ErrClosed)) {
			j.mu.Unlock()
			return nil
		}
		if !b.empty() {
			j.swap(b, spare)
			j.mu.Unlock()
			return b
		}
		j.mu.Unlock()
		<-j.work
	}
}

// swap lets spare be filled behind b, in the same generation while that is small enough. Journal.mu is held.
func (j *Journal) swap(b, spare *batch) {
	j.filling, j.writing = spare, b.bytes
	j.accepted += b.writes
	end := b.at + int64(b.bytes)
	if b.ends = end >= j.space.generation; b.ends {
		j.beginGeneration(spare, b.generation+1, b.generation)
	} else {
		j.beginBatch(spare, b.generation, b.seal, b.base, end)
	}
	j.room.Broadcast()
}

// commitIn makes b durable in its generation, which is cur or the one that the keeper has ready, and returns that.
func (j *Journal) commitIn(cur *generation, b *batch) (*generation, error) {
	if b.generation != cur.number {
		next, err := j.nextGeneration()
		if err != nil {
			return cur, err
		}
		next.tail.inherit(&cur.tail)
		cur = next
	}
	var took time.Duration
	bytes, records := b.bytes, len(b.records)
	err := durably(func() error {
		start := time.Now()
		err := j.writeSynced(cur, b)
		took = time.Since(start)
		return err
	}, func() { j.publish(cur, b) })
	if err == nil {
		j.cfg.OnSync(records, bytes, took)
	}
	return cur, err
}

// nextGeneration takes a generation that the keeper has made ready.
func (j *Journal) nextGeneration() (*generation, error) {
	for {
		g, err := j.stock.take()
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: %w", errNoRoom, err)
		case g != nil:
			return g, nil
		}
		select {
		case <-j.stock.made:
		case <-j.failed: // the keeper's, which has ended
			return nil, j.Err()
		}
	}
}

func (j *Journal) writeSynced(g *generation, b *batch) error {
	g.tail.reserve(b.bytes)
	if err := g.log.WriteBatch(&b.tw); err != nil {
		if isNoRoom(err) {
			return fmt.Errorf("%w: %w", errNoRoom, err)
		}
		return fmt.Errorf("write %s: %w", g.path, err)
	}
	g.tail.forget()
	if err := syncSegment(g.log); err != nil { // never asked a second time: Linux marks the pages clean after a failure
		return fmt.Errorf("%w: %s: %w", errSync, g.path, err)
	}
	j.syncs.Add(1)
	return nil
}

// publish tells of a durable batch: the table first, so that it can be read, then whoever keeps account, then those who
// wait for it.
func (j *Journal) publish(g *generation, b *batch) {
	j.gens.Lock()
	if g.base == 0 {
		g.base = b.base
		j.gens.table = append(j.gens.table, g)
	}
	g.offsets = append(g.offsets, b.offsets...)
	g.bytes = b.at + int64(b.bytes)
	for i := range b.records {
		if b.records[i].Kind == KindWrite {
			g.spaces.add(b.records[i].Space)
		}
	}
	j.gens.Unlock()
	j.commit = Commit{Generation: g.number, Records: b.records, At: time.Now()}
	j.durable.Store(b.records[len(b.records)-1].Index)
	j.cfg.OnCommit(&j.commit)
	b.wake(&j.commit)
}

// endGeneration seals cur, so that it can be released. Its bytes are synced already, and its handles have nothing to lose
// at their close. One that holds nothing is taken away again.
func (j *Journal) endGeneration(cur *generation) {
	if cur == nil || cur.log == nil {
		return
	}
	log := cur.log
	j.abandon(cur)
	j.done.Go(func() { // ends with the call, which syncs once more: no batch is to wait for that; Close waits for it
		if err := log.Close(); err != nil {
			j.log.Warn("closing a finished generation", "generation", cur.number, "error", err)
		}
	})
}

// abandon seals cur without a further call on tidwall's handle; the collector closes that.
func (j *Journal) abandon(cur *generation) {
	_ = cur.file.Close() // what it wrote, if anything, it synced
	j.gens.Lock()
	cur.log, cur.file, cur.sealed = nil, nil, true
	empty := cur.base == 0
	j.gens.Unlock()
	if empty {
		if err := cur.remove(); err != nil {
			j.log.Warn("an empty generation stays until the next start", "generation", cur.number, "error", err)
		}
	}
}

// failBatch ends the journal with b under way. Nobody learns that b is durable, whatever the disk holds of it.
func (j *Journal) failBatch(b *batch, err error) {
	j.fail(err)
	j.mu.Lock()
	b.refuse(j.state)
	j.mu.Unlock()
}
