package letters

import (
	"context"
	"sync"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Store takes records. See package store for what its errors mean.
type Store interface {
	Put(ctx context.Context, batch []wal.Record) []error
}

// Turns lets either deliveries or a replay ask a store. The zero value is ready.
type Turns struct{ mu sync.RWMutex }

// Take is s for whoever delivers: its calls run side by side, and never while a replay asks.
func (t *Turns) Take(s Store) Store { return taken{t, s} }

type taken struct {
	turns *Turns
	store Store
}

// Put implements Store.
func (t taken) Put(ctx context.Context, batch []wal.Record) []error {
	t.turns.mu.RLock()
	defer t.turns.mu.RUnlock()
	return t.store.Put(ctx, batch)
}
