package wal

import (
	"time"

	tidwall "github.com/tidwall/wal"
)

// batch is what one fsync makes durable: the frames of all records that arrived while the fsync before it ran. Two of
// them take turns; while one is filled under Journal.mu, the committer owns the other.
type batch struct {
	number     uint64
	generation uint64
	seal       seal
	base       uint64   // index of the generation's first record; tidwall counts from 1 in each
	begins     bool     // the generation begins with this batch, whose first record is the head
	ends       bool     // the generation ends with this batch
	at         int64    // size of the segment before it
	bytes      int      // of its entries
	writes     uint64   // records of KindWrite in it
	leaving    []uint64 // generations whose released record is in it
	restore    restore

	tw      tidwall.Batch
	records []Record
	offsets []uint32
	owners  []*Producer // of records, nil for the journal's own
}

// restore is what the journal's counters were before a batch.
type restore struct {
	index, accepted uint64
	released        Tally
}

// reset empties b and keeps its buffers.
func (b *batch) reset() {
	b.tw.Clear()
	clear(b.records) // let go of the payloads
	clear(b.owners)
	*b = batch{tw: b.tw, records: b.records[:0], offsets: b.offsets[:0], owners: b.owners[:0], leaving: b.leaving[:0]}
}

// add encodes r behind the frames in b, using buf as scratch space, and returns the scratch space for the next.
func (b *batch) add(buf []byte, p *Producer, r *Record, sum uint32) []byte {
	buf = appendFrame(buf, b.seal, r, uint32(len(b.records)), sum)
	b.tw.Write(r.Index-b.base+1, buf)
	entry := entrySize(len(buf))
	b.offsets = append(b.offsets, uint32(b.at+int64(b.bytes+entry-len(buf))))
	b.bytes += entry
	b.records = append(b.records, *r)
	b.owners = append(b.owners, p)
	return buf
}

// wake tells the producers of b that their records are durable, each once.
func (b *batch) wake(c *Commit) {
	at := c.At.UnixNano()
	for i, p := range b.owners {
		if p == nil || (i+1 < len(b.owners) && b.owners[i+1] == p) {
			continue // the last of a run of one producer's records speaks for the run
		}
		p.at.Store(at)
		p.durable.Store(b.records[i].Index)
		p.signal()
	}
}

// refuse tells the producers of b that nothing of it is durable. Journal.mu is held.
func (b *batch) refuse(err error) {
	for _, p := range b.owners {
		if p != nil && p.refused == nil {
			p.refused = err
			p.err.Store(&err)
			p.signal()
		}
	}
}

// beginGeneration makes b the first batch of a generation: its head comes first, so that a generation is readable without
// any before it. The generation inFlight (0: none) may not be in the table yet, but will be if this head becomes durable.
// Journal.mu is held, or the journal is not yet shared.
func (j *Journal) beginGeneration(b *batch, generation, inFlight uint64) {
	j.beginBatch(b, generation, newSeal(j.journal, generation), j.index, 0)
	b.begins = true
	head := Head{
		Version: FormatVersion, Journal: j.journal, Generation: generation,
		Accepted: j.accepted, Released: j.released, Live: j.live(inFlight),
	}
	r := Record{Kind: KindHead, Index: j.index, Batch: b.number, Time: time.Now().UnixNano(), Payload: head.append(nil)}
	j.index++
	j.scratch = b.add(j.scratch[:0], nil, &r, checksum(r.Payload))
	j.space.appended(int64(b.bytes))
}

// beginBatch makes b, which is empty, the next to be filled. What a refusal will have to restore is noted.
func (j *Journal) beginBatch(b *batch, generation uint64, s seal, base uint64, at int64) {
	b.number, b.generation, b.seal, b.base, b.at = j.number, generation, s, base, at
	b.restore = restore{index: j.index, accepted: j.accepted, released: j.released}
	j.number++
}

// empty says that b holds nothing that anybody waits for.
func (b *batch) empty() bool { return len(b.records) == 0 || (b.begins && len(b.records) == 1) }
