package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// readDisk reads the whole file and changes nothing. The error wraps os.ErrNotExist, ErrDamaged or wal.ErrNewerFormat, or is
// the file system's.
func readDisk(path string, journal [16]byte) (*known, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	if fi.Size() == 0 { // bbolt would take it for a new file
		return nil, fmt.Errorf("open the ledger %s: %w: it is empty", path, ErrDamaged)
	}
	if err := checkMetas(path); err != nil {
		return nil, err
	}
	k := newKnown()
	err = guard(func() error {
		o := options()
		o.ReadOnly, o.PreLoadFreelist = true, true // what writing will rest on is looked at too
		db, err := bbolt.Open(path, 0o600, o)
		if err != nil {
			return openError(path, err)
		}
		return errors.Join(db.View(func(tx *bbolt.Tx) error { return load(tx, journal, k) }), db.Close())
	})
	if err != nil {
		return nil, err
	}
	k.sort()
	return k, nil
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("open the ledger %s: another process holds it: %w", path, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("open the ledger: %w", err)
	default:
		return fmt.Errorf("open the ledger %s: %w: %w", path, ErrDamaged, err)
	}
}

func load(tx *bbolt.Tx, journal [16]byte, k *known) error {
	if err := loadMeta(tx, journal, k); err != nil {
		return err
	}
	err := each(tx, bucketGenerations, func(key, value []byte) error {
		n, err := parseKey(key)
		if err != nil {
			return err
		}
		g, err := decodeGeneration(value)
		if err == nil {
			k.gens[n] = g
		}
		return err
	})
	if err != nil {
		return err
	}
	err = each(tx, bucketSessions, func(key, value []byte) error {
		s, err := decodeSession(key, value)
		if err == nil {
			k.sessions = append(k.sessions, s)
		}
		return err
	})
	if err != nil {
		return err
	}
	return each(tx, bucketLetters, func(key, value []byte) error {
		n, err := parseKey(key)
		if err != nil {
			return err
		}
		l, err := decodeLetter(value)
		if err == nil {
			k.letters[n] = knownLetter{session: l.Session, size: l.size()}
		}
		return err
	})
}

func loadMeta(tx *bbolt.Tx, journal [16]byte, k *known) error {
	b := tx.Bucket(bucketMeta)
	if b == nil {
		return fmt.Errorf("%w: it has no meta bucket", ErrDamaged)
	}
	format, err := number(b, keyFormat)
	if err != nil {
		return err
	}
	if format > FormatVersion {
		return fmt.Errorf("%w: the ledger says format %d, this build reads up to %d: run the version that wrote it, or a newer one",
			wal.ErrNewerFormat, format, FormatVersion)
	}
	id, err := openValue(keyJournal, b.Get(keyJournal))
	if err != nil {
		return err
	}
	if !bytes.Equal(id, journal[:]) {
		return fmt.Errorf("%w: it belongs to another journal (%x, expected %x)", ErrDamaged, id, journal)
	}
	if k.past.Durable, err = number(b, keyDurable); err != nil {
		return err
	}
	if k.past.Newest, err = number(b, keyNewest); err != nil {
		return err
	}
	totals, err := openValue(keyTotals, b.Get(keyTotals))
	if err != nil {
		return err
	}
	k.past.Released, k.past.Total, err = decodeTotals(totals)
	return err
}

func number(b *bbolt.Bucket, key []byte) (uint64, error) {
	value, err := openValue(key, b.Get(key))
	if err != nil {
		return 0, err
	}
	return parseKey(value)
}

// each visits all that a bucket holds, and must hold.
func each(tx *bbolt.Tx, bucket int, visit func(key, value []byte) error) error {
	w, err := newWriter(tx)
	if err != nil {
		return err
	}
	b := w.buckets[bucket]
	if b == nil {
		return fmt.Errorf("%w: it has no %s bucket", ErrDamaged, bucketNames[bucket])
	}
	n := uint64(0)
	err = b.ForEach(func(key, sealed []byte) error {
		n++
		value, err := openValue(key, sealed)
		if err != nil {
			return err
		}
		return visit(bytes.Clone(key), bytes.Clone(value)) // bbolt's slices end with the transaction
	})
	if err == nil && n != w.counts[bucket] {
		err = fmt.Errorf("%w: its %s bucket holds %d values, expected %d", ErrDamaged, bucketNames[bucket], n, w.counts[bucket])
	}
	return err
}
