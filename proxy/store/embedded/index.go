package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// index is the bbolt file: what is committed. It belongs to whoever holds the writer's turn.
//
//	bucket state   "committed" → rows (8 bytes), checksum
//	bucket spaces  number (4 bytes) → name, checksum
//	bucket rows    number of the first row (4 bytes) → 56 bytes for each row of one commit, checksum
//
// Integers in keys are big-endian, so that they are read in order; in values little-endian. The checksum (CRC32C) covers
// key and value: bbolt has none for its pages.
type index struct {
	db   *bolt.DB
	file *os.File // db's own, to close where db itself cannot be closed any more
	lost bool     // bbolt panicked: its locks may be held for ever
}

var (
	bucketState  = []byte("state")
	bucketSpaces = []byte("spaces")
	bucketRows   = []byte("rows")
	keyCommitted = []byte("committed")
)

// errIndex means that the index is lost or not what was written; it is made anew from the segments.
var errIndex = errors.New("damaged index")

// lockTimeout bounds the wait for bbolt's own lock. The store's lock file is taken before, so nobody should hold it.
const lockTimeout = time.Second

// openIndex opens an index that exists. An error that is errIndex or errFault says that it has to be made anew.
func openIndex(path string) (*index, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || (err == nil && info.Size() == 0):
		return nil, fmt.Errorf("%w: %s is missing", errIndex, path) // bbolt would make an empty one, and not safely
	case err != nil:
		return nil, fmt.Errorf("open the index: %w", err)
	}
	x, err := openBolt(path)
	switch {
	case err == nil:
		return x, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("open the index: %s is locked by another process: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("open the index: %w", err)
	default:
		return nil, fmt.Errorf("%w: open %s: %w", errIndex, path, err)
	}
}

func openBolt(path string) (*index, error) {
	x := &index{}
	options := &bolt.Options{ // every sync stays on
		Timeout: lockTimeout, FreelistType: bolt.FreelistMapType, NoStatistics: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			x.file, err = os.OpenFile(name, flag, mode)
			return x.file, err
		},
	}
	panicked, err := guard(func() (err error) {
		x.db, err = bolt.Open(path, 0o600, options)
		return err
	})
	if panicked {
		return nil, errors.Join(err, x.abandon())
	}
	return x, err
}

// view and update run fn in a transaction.
func (x *index) view(fn func(tx *bolt.Tx) error) error {
	return x.guarded(func() error { return x.db.View(fn) })
}

func (x *index) update(fn func(tx *bolt.Tx) error) error {
	return x.guarded(func() error { return x.db.Update(fn) })
}

func (x *index) guarded(fn func() error) error {
	if x.lost {
		return fmt.Errorf("%w: it was given up before", errIndex)
	}
	panicked, err := guard(fn)
	x.lost = panicked
	return err
}

// close ends the use of the file, whatever state it is in.
func (x *index) close() error {
	if x.lost {
		return x.abandon()
	}
	return x.guarded(x.db.Close)
}

// abandon gives up a database that panicked: only its lock and its descriptor are let go. The mapping stays until the
// process ends, and would keep the lock with it.
func (x *index) abandon() error {
	x.lost = true
	if x.file == nil {
		return nil
	}
	f := x.file
	x.file = nil
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}

// commit makes rows visible for good, and the spaces they are the first of: when it returns nil a crash takes nothing of
// it away any more. On an error nobody knows whether it is on disk.
func (x *index) commit(first uint32, rows []row, firstSpace int, spaces []string) error {
	return x.update(func(tx *bolt.Tx) error {
		if err := putSpaces(tx, firstSpace, spaces); err != nil {
			return err
		}
		if err := putRows(tx, first, rows); err != nil {
			return err
		}
		return putState(tx, first+uint32(len(rows))) //nolint:gosec // row numbers have 32 bits
	})
}

func putSpaces(tx *bolt.Tx, first int, names []string) error {
	for i, name := range names {
		k := binary.BigEndian.AppendUint32(nil, uint32(first+i)) //nolint:gosec // each space has a row, and rows have 32 bits
		if err := tx.Bucket(bucketSpaces).Put(k, seal(k, []byte(name))); err != nil {
			return err
		}
	}
	return nil
}

// rowsPerValue bounds a value: bbolt rewrites its neighbours with it.
const rowsPerValue = 1024

func putRows(tx *bolt.Tx, first uint32, rows []row) error {
	b := tx.Bucket(bucketRows)
	b.FillPercent = 0.95 // keys only ever come at the end: pages need no room for others
	for len(rows) > 0 {
		n := min(len(rows), rowsPerValue)
		raw := make([]byte, 0, n*rowBytes+4)
		for i := range rows[:n] {
			raw = appendRow(raw, &rows[i])
		}
		k := binary.BigEndian.AppendUint32(nil, first)
		if err := b.Put(k, seal(k, raw)); err != nil {
			return err
		}
		rows, first = rows[n:], first+uint32(n)
	}
	return nil
}

func putState(tx *bolt.Tx, committed uint32) error {
	v := binary.LittleEndian.AppendUint64(nil, uint64(committed))
	return tx.Bucket(bucketState).Put(keyCommitted, seal(keyCommitted, v))
}

// seal appends the checksum of key and value to a value.
func seal(key, value []byte) []byte {
	return binary.LittleEndian.AppendUint32(value, crcUpdate(checksum(key), value))
}

// unseal returns the value without its checksum; it is a view that ends with the transaction.
func unseal(key, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 {
		return nil, fmt.Errorf("%w: key %x: a value of %d bytes has no checksum", errIndex, key, len(sealed))
	}
	value, sum := sealed[:len(sealed)-4], sealed[len(sealed)-4:]
	if binary.LittleEndian.Uint32(sum) != crcUpdate(checksum(key), value) {
		return nil, fmt.Errorf("%w: key %x: the checksum does not match", errIndex, key)
	}
	return value, nil
}
