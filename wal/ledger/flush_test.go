package ledger

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

func (d *desk) loseFile() {
	d.t.Helper()
	if err := os.Remove(d.path()); err != nil {
		d.t.Fatal(err)
	}
}

func TestFlushAndReload(t *testing.T) {
	d := newDesk(t)
	d.commit(wal.Record{Kind: wal.KindHead}, opened(1))
	at := d.commit(observations(1, 70)...)
	d.generation()
	more := d.commit(observed(1, 71), observed(1, 72), observed(1, 73))
	for _, i := range append(at[:65:65], more[2]) {
		d.Settle(i, id(1), wal.Delivered)
	}
	d.Settle(at[66], id(1), wal.Dropped)
	d.Settle(at[67], id(1), wal.Damaged)
	d.bury(more[0], observed(1, 71))
	want := wal.Tally{Accepted: 73, Delivered: 66, Dropped: 1, Damaged: 1, Dead: 1}
	d.balanced(want)
	pending := d.pending()
	d.flush()
	b := d.reload(nil)
	if b.Lost() != nil || b.Past().Durable != d.next-1 || b.Past().Newest != 2 || b.Past().Total != want {
		t.Fatalf("past %+v, lost %v", b.Past(), b.Lost())
	}
	d.balanced(want)
	d.letters(more[0])
	if !slices.Equal(d.pending(), pending) {
		t.Fatalf("pending %v, want %v", d.pending(), pending)
	}
	if n, dead := d.Remaining(id(1)); n != 4 || dead != 1 {
		t.Fatalf("remaining %d, dead %d", n, dead)
	}
	// Without a flush the marks since the last one are lost, and nothing else.
	d.Settle(pending[0], id(1), wal.Delivered)
	d.bury(pending[1], observed(1, 69))
	d.reload(nil)
	d.balanced(want)
	if !slices.Equal(d.pending(), pending) {
		t.Fatalf("pending %v, want %v", d.pending(), pending)
	}
	// Without the file all of them are.
	b = d.reload(d.loseFile)
	if !errors.Is(b.Lost(), os.ErrNotExist) || b.Past() != (Past{}) {
		t.Fatalf("past %+v, lost %v", b.Past(), b.Lost())
	}
	d.balanced(wal.Tally{Accepted: 73})
	d.letters()
	d.flush()
	if b = d.reload(nil); b.Past().Durable != d.next-1 || b.Past().Newest != 2 {
		t.Fatalf("past %+v of a file that was built anew", b.Past())
	}
}

// While nothing changes nothing is written, and a flush writes no more than what has changed.
func TestFlushWritesWhatHasChanged(t *testing.T) {
	d := newDesk(t)
	at := d.commit(opened(1), observed(1, 1))
	d.flush()
	if c := d.collect(); c != nil {
		t.Fatalf("nothing has changed, and %+v is to be written", c)
	}
	before, err := os.ReadFile(d.path())
	if err != nil {
		t.Fatal(err)
	}
	d.flush()
	if after, err := os.ReadFile(d.path()); err != nil || !bytes.Equal(before, after) {
		t.Fatalf("a flush of nothing changed the file: %v", err)
	}
	d.Settle(at[1], id(1), wal.Delivered)
	c := d.collect()
	if len(c.gens) != 1 || len(c.sessions)+len(c.letters) != 0 || !c.gone.empty() {
		t.Fatalf("%+v is to be written", c)
	}
	d.putBack(c)
	d.flush()
	d.reload(nil)
	d.balanced(wal.Tally{Accepted: 1, Delivered: 1})
}

// What a failed flush was to write is written by the next one.
func TestFlushFails(t *testing.T) {
	d := newDesk(t)
	d.commit(opened(1), opened(2))
	at := d.commit(observations(1, 4)...)
	d.bury(at[0], observed(1, 1))
	d.flush()
	d.commit(wal.Record{Kind: wal.KindSettled, Payload: wal.Settled{Index: at[0], Fate: wal.Delivered}.Append(nil)}, expired(2))
	d.Settle(at[1], id(1), wal.Delivered)
	d.bury(at[2], observed(1, 3))
	d.gone.gens[77] = true
	c := d.collect()
	if len(c.gens) != 1 || len(c.letters) != 1 || len(c.gone.letters) != 1 || len(c.gone.sessions) != 1 {
		t.Fatalf("to be written: %+v", c)
	}
	d.putBack(c) // as Flush does where the transaction fails
	d.flush()
	d.reload(nil)
	d.balanced(wal.Tally{Accepted: 4, Delivered: 2, Dead: 1})
	d.letters(at[2])
	err := d.disk.view(func(tx *bbolt.Tx) error {
		for _, b := range []struct{ bucket, key []byte }{{bucketNames[bucketLetters], key64(at[0])}, {bucketNames[bucketSessions], slices.Clone(sid(2))}} {
			if tx.Bucket(b.bucket).Get(b.key) != nil {
				t.Errorf("%s still holds %x", b.bucket, b.key)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sid(n byte) []byte { s := id(n); return s[:] }

func TestAfterClose(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 2)...)
	d.bury(at[0], observed(1, 1))
	d.flush()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d.Settle(at[1], id(1), wal.Delivered)
	if err := d.Flush(); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("flush: %v", err)
	}
	if _, err := d.Letter(at[0]); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("letter: %v", err)
	}
	d.balanced(wal.Tally{Accepted: 2, Dead: 1, Delivered: 1}) // memory goes on
}
