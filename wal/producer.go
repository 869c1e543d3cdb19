package wal

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Producer is one source of records, such as a stream: its records become durable in the order in which it appended
// them, so one watermark tells which of them may be acknowledged, and no receipt is made for each.
//
// Append, Reset and Wait belong to one goroutine at a time each; the rest may be called from anywhere. When a record was
// refused for want of room (ErrFull from Err), it and all behind it are not in the journal: the owner takes their
// sequence numbers back and calls Reset.
type Producer struct {
	j       *Journal
	refused error // guarded by Journal.mu

	durable atomic.Uint64
	at      atomic.Int64
	err     atomic.Pointer[error]
	wake    chan struct{}
}

// NewProducer makes a producer. It holds no resource and needs no closing.
func (j *Journal) NewProducer() *Producer { return &Producer{j: j, wake: make(chan struct{}, 1)} }

// Append gives r its index and puts it into the batch that the next fsync makes durable. It does not wait for that, but
// where the batch is full for a fsync that runs. The journal keeps r.Payload and r.ID and gives them to OnCommit: their
// bytes must not change any more.
//
// The error wraps ErrRefused (an earlier record was refused, and this one too; roll back and Reset), else ErrFull (this one
// alone was refused, nothing was kept; try later), ErrFailed (the disk failed) or ErrClosed. ErrRefused wraps the error of
// the refusal as well, so it is to be asked for first.
func (p *Producer) Append(r *Record) error { return p.j.append(p, r, nil) }

// AppendAll appends records as Append does one by one, but none is written before all are there: where a batch can hold them
// one fsync makes all of them durable. At the first that is not taken it returns why; those before it are appended.
func (p *Producer) AppendAll(records []Record) error { return p.j.appendAll(p, records) }

// Durable returns the index of the producer's last durable record, 0 where there is none, and when it was committed.
func (p *Producer) Durable() (index uint64, at time.Time) {
	index = p.durable.Load()
	if index == 0 {
		return 0, time.Time{}
	}
	return index, time.Unix(0, p.at.Load())
}

// Wake receives after each commit that held records of this producer, and when one was refused. One value may stand for
// several commits.
func (p *Producer) Wake() <-chan struct{} { return p.wake }

// Err is why the records behind Durable will not become durable: nil, or an error that wraps ErrFull or ErrFailed.
func (p *Producer) Err() error {
	if e := p.err.Load(); e != nil {
		return *e
	}
	return nil
}

// Reset makes the producer usable after a refusal, once its owner has rolled back.
func (p *Producer) Reset() {
	p.j.mu.Lock()
	defer p.j.mu.Unlock()
	p.refused = nil
	p.err.Store(nil)
}

// Wait returns when the record at index is durable, with the time of its commit.
func (p *Producer) Wait(ctx context.Context, index uint64) (time.Time, error) {
	for {
		if durable, at := p.Durable(); durable >= index {
			return at, nil
		}
		if err := p.Err(); err != nil {
			return time.Time{}, err
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("waiting for the journal's fsync: %w", context.Cause(ctx))
		}
	}
}

func (p *Producer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
