package ledger

import (
	"errors"
	"os"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// change edits the file as bbolt lets anyone.
func (d *desk) change(f func(tx *bbolt.Tx) error) {
	d.t.Helper()
	db, err := bbolt.Open(d.path(), 0o600, options())
	if err != nil {
		d.t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close()); err != nil {
		d.t.Fatal(err)
	}
}

// What the file says of itself decides how it is read: nothing of another version, of another journal, or incomplete.
func TestWhatTheFileSaysOfItself(t *testing.T) {
	drop := func(key []byte) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(key) }
	}
	set := func(key, value []byte) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { return put(tx, bucketMeta, key, value) }
	}
	for name, c := range map[string]struct {
		change func(*bbolt.Tx) error
		want   error
	}{
		"a newer format":            {set(keyFormat, key64(FormatVersion+1)), wal.ErrNewerFormat},
		"a format of one byte":      {set(keyFormat, []byte{1}), ErrDamaged},
		"no format":                 {drop(keyFormat), ErrDamaged},
		"another journal":           {set(keyJournal, []byte("another journal!")), ErrDamaged},
		"no journal":                {drop(keyJournal), ErrDamaged},
		"no durable index":          {drop(keyDurable), ErrDamaged},
		"no newest generation":      {drop(keyNewest), ErrDamaged},
		"no totals":                 {drop(keyTotals), ErrDamaged},
		"no counts":                 {drop(keyCounts), ErrDamaged},
		"counts that do not fit":    {set(keyCounts, encodeNumbers([]uint64{1, 2, 0})), ErrDamaged},
		"no meta bucket":            {func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) }, ErrDamaged},
		"no sessions bucket":        {func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketNames[bucketSessions]) }, ErrDamaged},
		"a bucket within a bucket":  {func(tx *bbolt.Tx) error { _, err := tx.Bucket(bucketMeta).CreateBucket([]byte("x")); return err }, ErrDamaged},
		"a session of another kind": {func(tx *bbolt.Tx) error { return put(tx, bucketNames[bucketSessions], sid(1), []byte("?")) }, ErrDamaged},
		"a generation of none":      {func(tx *bbolt.Tx) error { return put(tx, bucketNames[bucketGenerations], key64(1), nil) }, ErrDamaged},
		"a letter of none":          {func(tx *bbolt.Tx) error { return put(tx, bucketNames[bucketLetters], key64(1), nil) }, ErrDamaged},
		"a letter under a text":     {func(tx *bbolt.Tx) error { return put(tx, bucketNames[bucketLetters], []byte("x"), nil) }, ErrDamaged},
		"a generation under a text": {func(tx *bbolt.Tx) error { return put(tx, bucketNames[bucketGenerations], []byte("x"), nil) }, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.commit(opened(1), observed(1, 1))
			d.flush()
			d.close()
			d.change(c.change)
			before, err := os.ReadFile(d.path())
			if err != nil {
				t.Fatal(err)
			}
			b, err := Load(d.dir, testJournal, nil)
			switch {
			case errors.Is(c.want, ErrDamaged):
				if err != nil || !errors.Is(b.Lost(), ErrDamaged) || b.Past() != (Past{}) {
					t.Fatalf("load: %v", err)
				}
			case !errors.Is(err, c.want):
				t.Fatalf("load: %v", err)
			}
			if after, err := os.ReadFile(d.path()); err != nil || string(after) != string(before) {
				t.Fatalf("the file was changed: %v", err)
			}
			if err == nil {
				d.load(nil)
				if d.session(1).Last != 1 {
					t.Fatalf("session %+v", d.session(1))
				}
			}
		})
	}
}
