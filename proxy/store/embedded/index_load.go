package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// contents is what an index holds, as it is read at the start.
type contents struct {
	committed uint32
	spaces    []string // by number
}

// load reads the whole index: it calls named once with the spaces, and then visit for runs of rows, in order; raw holds
// rowBytes for each of them.
func (x *index) load(named func(spaces []string), visit func(first uint32, raw []byte) error) error {
	return x.view(func(tx *bolt.Tx) error {
		var c contents
		if err := c.readState(tx); err != nil {
			return err
		}
		if err := c.readSpaces(tx); err != nil {
			return err
		}
		named(c.spaces)
		return c.readRows(tx, visit)
	})
}

// committed reads how many rows are committed.
func (x *index) committed() (uint32, error) {
	var c contents
	err := x.view(c.readState)
	return c.committed, err
}

func (c *contents) readState(tx *bolt.Tx) error {
	state, spaces, rows := tx.Bucket(bucketState), tx.Bucket(bucketSpaces), tx.Bucket(bucketRows)
	if state == nil || spaces == nil || rows == nil {
		return fmt.Errorf("%w: a bucket is missing", errIndex)
	}
	v, err := unseal(keyCommitted, state.Get(keyCommitted))
	if err != nil {
		return err
	}
	if len(v) != 8 {
		return fmt.Errorf("%w: expected 8 bytes for the number of rows, got %d", errIndex, len(v))
	}
	c.committed = uint32(binary.LittleEndian.Uint64(v)) //nolint:gosec // row numbers have 32 bits
	return nil
}

func (c *contents) readSpaces(tx *bolt.Tx) error {
	return tx.Bucket(bucketSpaces).ForEach(func(k, v []byte) error {
		name, err := unseal(k, v)
		if err != nil {
			return err
		}
		if !isKey(k, uint32(len(c.spaces))) || len(name) > maxSpace { //nolint:gosec // each space has a row, and rows have 32 bits
			return fmt.Errorf("%w: expected space %d, got key %x with a name of %d bytes", errIndex, len(c.spaces), k, len(name))
		}
		c.spaces = append(c.spaces, string(name))
		return nil
	})
}

func (c *contents) readRows(tx *bolt.Tx, visit func(first uint32, raw []byte) error) error {
	next := uint32(0)
	err := tx.Bucket(bucketRows).ForEach(func(k, v []byte) error {
		raw, err := unseal(k, v)
		if err != nil {
			return err
		}
		if !isKey(k, next) || len(raw)%rowBytes != 0 {
			return fmt.Errorf("%w: expected row %d, got key %x with %d bytes", errIndex, next, k, len(raw))
		}
		if err := visit(next, raw); err != nil {
			return err
		}
		next += uint32(len(raw) / rowBytes) //nolint:gosec // a value of bbolt has less than 2^31 bytes
		return nil
	})
	if err == nil && next != c.committed {
		err = fmt.Errorf("%w: expected %d rows, found %d", errIndex, c.committed, next)
	}
	return err
}

func isKey(k []byte, number uint32) bool {
	return len(k) == 4 && binary.BigEndian.Uint32(k) == number
}

// rowSource calls yield with runs of rows, in order and without gaps.
type rowSource func(yield func(first uint32, rows []row) error) error

// createIndex makes an index of these rows, whole or not at all: bbolt's own first steps on a file are not safe against a
// crash, and it never syncs the directory.
func createIndex(d *disk, dir string, spaces []string, rows rowSource) error {
	temporary := filepath.Join(dir, indexNew)
	if err := d.remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create the index: %w", err)
	}
	err := fillIndex(temporary, spaces, rows)
	if err == nil {
		err = d.rename(temporary, filepath.Join(dir, indexName))
	}
	if err == nil {
		err = d.syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("create the index: %w", err)
	}
	return nil
}

func fillIndex(path string, spaces []string, rows rowSource) error {
	x, err := openBolt(path)
	if err != nil {
		return err
	}
	err = x.update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketState, bucketSpaces, bucketRows} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return errors.Join(putSpaces(tx, 0, spaces), putState(tx, 0))
	})
	if err == nil {
		err = rows(func(first uint32, rows []row) error { return x.commit(first, rows, 0, nil) })
	}
	return errors.Join(err, x.close())
}
