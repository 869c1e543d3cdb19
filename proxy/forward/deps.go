package forward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Store takes records. See package store for what it promises and what its errors mean.
type Store interface {
	// Put answers with one error for each record of the batch, at the same place; nil means stored durably. It is called
	// from up to Config.Parallel goroutines at once, never with two records of one session in different calls.
	Put(ctx context.Context, batch []wal.Record) []error
}

// Source reads records back. It is the journal.
type Source interface {
	// Read calls visit for each of the indexes, which ascend. What visit gets may be kept. The error is about the first
	// index that was not visited: it wraps wal.ErrDamaged or wal.ErrNotFound, or else says nothing about the record.
	Read(indexes []uint64, visit func(*wal.Record) error) error
}

// Sink learns what has become of each record. It is the ledger, and whoever else wants to know. Each index is reported
// once; within a session in the order of the sequence. The methods are called from the goroutine of Run.
type Sink interface {
	// Settle reports that a record is delivered or damaged. Of a damaged one only Index and Lane are certain, and Session,
	// Sequence and Space where the damage left them readable. r is valid during the call.
	Settle(r *wal.Record, o Outcome)
	// Bury keeps a dead letter. After an error the record counts as not reported, and Bury is called again later.
	Bury(l Letter) error
}

// Outcome is what Settle reports.
type Outcome uint8

// The outcomes that need no letter.
const (
	Delivered Outcome = 1 + iota // the store has it, durably
	Damaged                      // the journal cannot read it back
)

// String returns the outcome as operators see it.
func (o Outcome) String() string {
	switch o {
	case Delivered:
		return "delivered"
	case Damaged:
		return "damaged"
	default:
		return fmt.Sprintf("outcome %d", uint8(o))
	}
}

// Letter is a record that the store refused for good, whole.
type Letter struct {
	wal.Record
	Reason   string    // the store's own words
	Attempts int       // how many times the store said no to it, 1 and up
	DiedAt   time.Time // when it said so last
}

// Deps are what a Forwarder works with. Cache and Logger may be nil.
type Deps struct {
	Queue  *queue.Queue
	Cache  *queue.Cache[wal.Record]
	Store  Store
	Source Source
	Sink   Sink
	Logger hclog.Logger
}

func (d Deps) validate() error {
	if d.Queue == nil || d.Store == nil || d.Source == nil || d.Sink == nil {
		return errors.New("forward: expected a queue, a store, a source and a sink; one is nil")
	}
	return nil
}
