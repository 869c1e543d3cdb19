package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

var errDisk = errors.New("input/output error")

// fakeJournal keeps its records in memory and behaves as wal.Journal does, but that the test says when the disk is slow,
// full or broken.
type fakeJournal struct {
	mu      sync.Mutex
	changed *sync.Cond
	index   uint64
	filling []fakeEntry
	durable []wal.Record
	state   error // Append refuses with it
	panics  bool  // Append does
	refuse  error // the next batch comes to this
	held    bool  // no batch is committed
	mute    bool  // producers are not woken
	closed  bool
	level   float64
	done    chan struct{}
}

type fakeEntry struct {
	p *fakeProducer
	r wal.Record
}

func newFakeJournal(t *testing.T) *fakeJournal {
	j := &fakeJournal{done: make(chan struct{})}
	j.changed = sync.NewCond(&j.mu)
	go j.run()
	t.Cleanup(func() {
		j.set(func() { j.closed, j.held = true, false })
		<-j.done
	})
	return j
}

func (j *fakeJournal) set(change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
	j.changed.Broadcast()
}

func (j *fakeJournal) hold()    { j.set(func() { j.held = true }) }
func (j *fakeJournal) release() { j.set(func() { j.held = false }) }

func (j *fakeJournal) run() {
	defer close(j.done)
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		for !j.closed && (j.held || len(j.filling) == 0) {
			j.changed.Wait()
		}
		if len(j.filling) == 0 {
			return
		}
		j.commit()
	}
}

// commit deals with the batch. The lock is held.
func (j *fakeJournal) commit() {
	batch, reason := j.filling, j.refuse
	j.filling, j.refuse = nil, nil
	if errors.Is(reason, wal.ErrFailed) {
		j.state = reason
	}
	if errors.Is(reason, wal.ErrFull) {
		j.index = batch[0].r.Index - 1 // what a full disk takes back leaves its indexes to others
	}
	at := time.Now()
	for _, e := range batch {
		if reason != nil {
			e.p.refused = reason
		} else {
			j.durable = append(j.durable, e.r)
			e.p.durable, e.p.at = e.r.Index, at
		}
		if j.mute {
			continue
		}
		select {
		case e.p.wake <- struct{}{}:
		default:
		}
	}
	j.changed.Broadcast()
}

func (j *fakeJournal) NewProducer() Producer {
	return &fakeProducer{j: j, wake: make(chan struct{}, 1)}
}

func (j *fakeJournal) Write(ctx context.Context, r *wal.Record) (time.Time, error) {
	p := &fakeProducer{j: j, wake: make(chan struct{}, 1)}
	if err := p.Append(r); err != nil {
		return time.Time{}, err
	}
	for {
		if index, at := p.Durable(); index == r.Index {
			return at, nil
		}
		if err := p.Err(); err != nil {
			return time.Time{}, err
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

func (j *fakeJournal) Pressure() float64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.level
}

// records returns what is durable of one kind.
func (j *fakeJournal) records(kind wal.Kind) []wal.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []wal.Record
	for _, r := range j.durable {
		if r.Kind == kind {
			out = append(out, r)
		}
	}
	return out
}

// await waits until the journal is as the test wants it. The lock is held in ready.
func (j *fakeJournal) await(ready func() bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !ready() {
		j.changed.Wait()
	}
}

// awaitFilling waits until n records wait for their fsync.
func (j *fakeJournal) awaitFilling(n int) { j.await(func() bool { return len(j.filling) >= n }) }

type fakeProducer struct {
	j       *fakeJournal
	durable uint64
	at      time.Time
	refused error
	wake    chan struct{}
}

func (p *fakeProducer) Append(r *wal.Record) error {
	p.j.mu.Lock()
	defer p.j.mu.Unlock()
	switch {
	case p.j.panics:
		panic("the journal")
	case p.j.state != nil && (r.Kind == wal.KindWrite || r.Kind == wal.KindSessionOpened || !errors.Is(p.j.state, wal.ErrFull)):
		return p.j.state
	case p.refused != nil:
		return fmt.Errorf("%w: %w", wal.ErrRefused, p.refused)
	}
	p.j.index++
	r.Index, r.Time = p.j.index, time.Now().UnixNano()
	p.j.filling = append(p.j.filling, fakeEntry{p, *r})
	p.j.changed.Broadcast()
	return nil
}

func (p *fakeProducer) Reset() {
	p.j.mu.Lock()
	defer p.j.mu.Unlock()
	p.refused = nil
}

func (p *fakeProducer) Durable() (uint64, time.Time) {
	p.j.mu.Lock()
	defer p.j.mu.Unlock()
	return p.durable, p.at
}

func (p *fakeProducer) Err() error {
	p.j.mu.Lock()
	defer p.j.mu.Unlock()
	return p.refused
}

func (p *fakeProducer) Wake() <-chan struct{} { return p.wake }
