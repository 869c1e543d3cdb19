package ledger

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// FormatVersion is the version of the ledger's file that this build writes and the newest it reads.
const FormatVersion = 1

var (
	bucketMeta  = []byte("meta")
	bucketNames = [kinds][]byte{[]byte("generations"), []byte("sessions"), []byte("letters")}

	keyFormat  = []byte("format")
	keyJournal = []byte("journal")
	keyDurable = []byte("durable")
	keyNewest  = []byte("newest")
	keyTotals  = []byte("totals")
	keyCounts  = []byte("counts")
)

// What has a bucket of its own: see bucketNames.
const (
	bucketGenerations = iota
	bucketSessions
	bucketLetters
	kinds
)

// disk is the bbolt file. Reading mapped memory can fault where the file was cut under it, and a damaged page can make
// bbolt panic: every use goes through guard.
type disk struct {
	path string

	broken error // the first failure to write it that was not for want of room; guarded by Ledger.writing

	mu sync.Mutex
	db *bbolt.DB // nil once it is closed, or must not be touched any more
}

// errFault marks a panic of bbolt, or a fault in its mapped memory.
var errFault = errors.New("reading it failed")

// guard turns a fault or a panic in f into an error that wraps ErrDamaged.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %w: %v", ErrDamaged, errFault, p)
		}
	}()
	return f()
}

// lockTimeout is how long a second holder of the file is waited for.
const lockTimeout = time.Second

// options for every opening of a file, of its temporary copies too. NoSync, NoGrowSync and NoFreelistSync stay off: each
// has cost somebody a database.
func options() *bbolt.Options {
	return &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType}
}

func put(tx *bbolt.Tx, bucket, key, value []byte) error {
	return tx.Bucket(bucket).Put(key, sealValue(key, value))
}

// update writes a transaction. After a failed fsync the file is written no more: Linux has marked the pages clean, and a
// second fsync would be believed.
func (d *disk) update(f func(tx *bbolt.Tx) error) error {
	if d.broken != nil {
		return d.broken
	}
	err := d.use(func(db *bbolt.DB) error { return db.Update(f) })
	if err != nil && !isNoRoom(err) {
		d.broken = err
	}
	return err
}

func (d *disk) view(f func(tx *bbolt.Tx) error) error {
	return d.use(func(db *bbolt.DB) error { return db.View(f) })
}

// use guards f. After a fault bbolt may still hold its own locks, so that nothing more is asked of it, not even to close:
// the file is read again, or set aside, at the next start.
func (d *disk) use(f func(*bbolt.DB) error) error {
	db := d.handle()
	if db == nil {
		return fmt.Errorf("%w: the ledger's file %s is closed", wal.ErrClosed, d.path)
	}
	err := guard(func() error { return f(db) })
	if errors.Is(err, errFault) {
		d.let()
	}
	return err
}

func (d *disk) handle() *bbolt.DB {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.db
}

// let takes the handle away from whoever comes later.
func (d *disk) let() *bbolt.DB {
	d.mu.Lock()
	defer d.mu.Unlock()
	db := d.db
	d.db = nil
	return db
}

// close waits for the transactions under way.
func (d *disk) close() error {
	if db := d.let(); db != nil {
		return guard(db.Close)
	}
	return nil
}
