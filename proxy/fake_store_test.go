package proxy

import (
	"context"
	"sync"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// fakeStore answers what the test says.
type fakeStore struct {
	mu     sync.Mutex
	answer func(store.Query) (store.Answer, error)
	can    store.Capabilities
}

func (f *fakeStore) Recall(_ context.Context, q store.Query) (store.Answer, error) {
	f.mu.Lock()
	answer := f.answer
	f.mu.Unlock()
	if answer == nil {
		return store.Answer{}, nil
	}
	return answer(q)
}

func (f *fakeStore) Capabilities() store.Capabilities {
	c := f.can
	if c.Name == "" {
		c.Name = "fake"
	}
	return c
}

func (f *fakeStore) set(answer func(store.Query) (store.Answer, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// fakeLedger knows which of the journal's writes the store has. It is Pending, Settlement and Lanes of a test.
type fakeLedger struct {
	j *fakeJournal

	mu      sync.Mutex
	settled map[uint64]bool // by index
	died    map[uint64]bool // by index: of the settled ones
	dead    map[wal.SessionID]uint64
	changed chan struct{}
	load    Load
	low     *Load  // of the low lane, where it differs
	failing func() // called by Load
	counted func() // called by Remaining
	visit   error  // Visit ends with it
}

func newFakeLedger(j *fakeJournal) *fakeLedger {
	return &fakeLedger{j: j, settled: map[uint64]bool{}, died: map[uint64]bool{}, dead: map[wal.SessionID]uint64{}, changed: make(chan struct{}), load: Load{Capacity: 1000}}
}

func (f *fakeLedger) settle(indexes ...uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, index := range indexes {
		f.settled[index] = true
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeLedger) Remaining(id wal.SessionID) (pending, dead uint64) {
	records := f.j.records(wal.KindWrite)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counted != nil {
		f.counted()
	}
	for _, r := range records {
		if r.Session == id && !f.settled[r.Index] {
			pending++
		}
	}
	return pending, f.dead[id]
}

func (f *fakeLedger) Through(id wal.SessionID) (last uint64) {
	records := f.j.records(wal.KindWrite)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range records {
		if r.Session == id && f.settled[r.Index] && r.Sequence == last+1 {
			last = r.Sequence
		}
	}
	return last
}

func (f *fakeLedger) Rejected(id wal.SessionID, after, through uint64, limit int) (out []uint64) {
	records := f.j.records(wal.KindWrite)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range records {
		if r.Session == id && f.died[r.Index] && r.Sequence > after && r.Sequence <= through && len(out) < limit {
			out = append(out, r.Sequence)
		}
	}
	return out
}

func (f *fakeLedger) IsPending(index uint64) bool {
	durable := false
	for _, r := range f.j.records(wal.KindWrite) {
		durable = durable || r.Index == index
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return durable && !f.settled[index]
}

func (f *fakeLedger) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fakeLedger) Load(lane wal.Lane) Load {
	f.mu.Lock()
	load, failing := f.load, f.failing
	if lane == wal.LaneLow && f.low != nil {
		load = *f.low
	}
	f.mu.Unlock()
	if failing != nil {
		failing()
	}
	return load
}

func (f *fakeLedger) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeLedger) Visit(_ context.Context, space string, visit func(*wal.Record) bool) error {
	records := f.j.records(wal.KindWrite)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(records) - 1; i >= 0; i-- {
		if r := &records[i]; r.Space == space && !f.settled[r.Index] && !visit(r) {
			return nil
		}
	}
	return f.visit
}
