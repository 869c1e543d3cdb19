package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestIndexDamage damages the index in many ways. Whatever was confirmed is there all the same, and nothing counts as damaged.
func TestIndexDamage(t *testing.T) {
	const rows = 30
	master := filepath.Join(quickDir(t), "master")
	fullStore(t, master, rows)
	whole := size(t, filepath.Join(master, indexName))
	try := func(name string, fn func(b []byte) []byte) {
		t.Helper()
		dir := filepath.Join(quickDir(t), "store")
		defer os.RemoveAll(dir)
		copyDir(t, master, dir)
		change(t, filepath.Join(dir, indexName), fn)
		s, err := Open(dir, Config{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer s.Close()
		wantTulips(t, s, 1, rows)
		mustPut(t, s, tulips(1, rows+1)...)
		wantTulips(t, s, 1, rows+1)
		if t.Failed() || s.Stats().Damaged != 0 {
			t.Fatalf("%s: %d rows count as damaged", name, s.Stats().Damaged)
		}
	}
	try("empty", func([]byte) []byte { return nil })
	try("all zero", func(b []byte) []byte { clear(b); return b })
	try("noise", func(b []byte) []byte {
		for i := range b {
			b[i] = byte(i*i>>3 + i)
		}
		return b
	})
	for at := int64(0); at < whole; at += 512 {
		try("cut", func(b []byte) []byte { return b[:at] })
	}
	for at := int64(0); at < whole; at += 4096 {
		try("page zeroed", func(b []byte) []byte { clear(b[at:min(at+4096, whole)]); return b })
	}
	for at := int64(0); at < whole; at += 307 {
		try("byte flipped", func(b []byte) []byte { b[at] ^= 0x41; return b })
	}
}

func TestIndexMissing(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	fullStore(t, dir, 20)
	if err := os.Remove(filepath.Join(dir, indexName)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Config{})
	wantTulips(t, s, 1, 20)
}

// TestIndexKeepsDamaged sets a damaged index aside, for whoever wants to know what happened to it.
func TestIndexKeepsDamaged(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	fullStore(t, dir, 5)
	change(t, filepath.Join(dir, indexName), func(b []byte) []byte { clear(b[:8192]); return b })
	open(t, dir, Config{})
	if got := size(t, filepath.Join(dir, indexDamaged)); got == 0 {
		t.Error("nothing was set aside")
	}
}

// TestIndexLies checks what checksums do not: an index whose values are sealed and make no sense.
func TestIndexLies(t *testing.T) {
	for name, change := range map[string]func(x *index) error{
		"more rows counted than there are": func(x *index) error {
			return x.update(func(tx *bolt.Tx) error { return putState(tx, 99) })
		},
		"a row of a space without a name": func(x *index) error {
			return x.commit(5, []row{{space: 7}}, 0, nil)
		},
		"a row that replaces a later one": func(x *index) error {
			return x.commit(5, []row{{replaces: 9}}, 0, nil)
		},
		"a row that replaces one of another id": func(x *index) error {
			return x.commit(5, []row{{replaces: 2, hash: 77}}, 0, nil)
		},
		"a gap": func(x *index) error { return x.commit(8, []row{{}}, 0, nil) },
		"a missing bucket": func(x *index) error {
			return x.update(func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketSpaces) })
		},
		"spaces out of order": func(x *index) error {
			return x.update(func(tx *bolt.Tx) error { return putSpaces(tx, 3, []string{"meadow"}) })
		},
		"a short count": func(x *index) error {
			return x.update(func(tx *bolt.Tx) error {
				return tx.Bucket(bucketState).Put(keyCommitted, seal(keyCommitted, []byte{5}))
			})
		},
		"a value without checksum": func(x *index) error {
			return x.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketSpaces).Put([]byte{0, 0, 0, 0}, []byte("x")) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(quickDir(t), "store")
			fullStore(t, dir, 5)
			x, err := openIndex(filepath.Join(dir, indexName))
			if err == nil {
				err = errors.Join(change(x), x.close())
			}
			if err != nil {
				t.Fatal(err)
			}
			s := open(t, dir, Config{})
			wantTulips(t, s, 1, 5)
			if st := s.Stats(); st.Rows != 5 || st.Damaged != 0 {
				t.Errorf("rows %d, damaged %d; expected 5 and 0", st.Rows, st.Damaged)
			}
		})
	}
}

// TestIndexLocked says who is in the way instead of waiting for ever.
func TestIndexLocked(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	fullStore(t, dir, 5)
	other, err := openIndex(filepath.Join(dir, indexName))
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if _, err := Open(dir, Config{}); err == nil || errors.Is(err, errIndex) {
		t.Errorf("expected a refusal, and no rebuilding, got %v", err)
	}
}

// TestIndexPanic shows that a database that panicked is given up, and not waited for.
func TestIndexPanic(t *testing.T) {
	dir := filepath.Join(quickDir(t), "store")
	fullStore(t, dir, 5)
	path := filepath.Join(dir, indexName)
	x, err := openIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	err = x.update(func(*bolt.Tx) error { panic("page 7: unexpected type") })
	if !errors.Is(err, errIndex) || !x.lost {
		t.Errorf("expected a damaged index, got %v", err)
	}
	if err := x.view(func(*bolt.Tx) error { return nil }); !errors.Is(err, errIndex) {
		t.Errorf("a lost index answered %v", err)
	}
	if err := errors.Join(x.close(), x.close()); err != nil {
		t.Error(err)
	}
	again, err := openIndex(path) // its lock is free
	if err != nil {
		t.Fatal(err)
	}
	if err := again.close(); err != nil {
		t.Error(err)
	}
}
