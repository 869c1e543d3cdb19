package postgres

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
)

// TestManyBeginAtOnce is what a deployment does to an empty database.
func TestManyBeginAtOnce(t *testing.T) {
	d := newDatabase(t, "")
	var all sync.WaitGroup
	stores, failed := make([]*Store, 8), make([]error, 8)
	for i := range stores {
		all.Go(func() {
			stores[i], failed[i] = Open(Config{URL: d.url, Patience: patience, Journal: [16]byte{byte(i)}})
			if failed[i] == nil {
				failed[i] = errors.Join(stores[i].Put(t.Context(), episodes(0, 1, 5))...)
			}
		})
	}
	all.Wait()
	for i, s := range stores {
		if failed[i] != nil {
			t.Errorf("%d: %v", i, failed[i])
		}
		if s != nil {
			_ = s.Close()
		}
	}
	if n := one[int](d, "SELECT count(*) FROM "+versions); n != schemaVersion {
		t.Errorf("%d migrations are noted, expected %d", n, schemaVersion)
	}
	if n := one[int](d, "SELECT count(*) FROM "+memories); n != 5 {
		t.Errorf("%d memories, expected 5", n)
	}
}

// TestNewerSchemaIsRefused changes nothing in what a newer build has made.
func TestNewerSchemaIsRefused(t *testing.T) {
	d := newDatabase(t, "")
	d.open()
	d.do("INSERT INTO "+versions+" (version) VALUES ($1)", int32(schemaVersion+1))
	d.do("DROP TABLE " + memories)
	s, err := Open(Config{URL: d.url, Patience: patience})
	if !errors.Is(err, ErrNewerSchema) || !strings.Contains(err.Error(), "has version 2, this build knows up to 1") {
		t.Fatalf("%v, expected %v", err, ErrNewerSchema)
	}
	if s != nil {
		t.Error("a store came with the error")
	}
	if one[bool](d, "SELECT to_regclass($1) IS NOT NULL", memories) {
		t.Error("the table was made anew")
	}
}

// TestNewerSchemaWhileRunning comes while the sidecar waits for the server: nothing is buried.
func TestNewerSchemaWhileRunning(t *testing.T) {
	d := newDatabase(t, "")
	s := d.open()
	d.do("INSERT INTO "+versions+" (version) VALUES ($1)", int32(schemaVersion+1))
	s.forget()
	err := errors.Join(s.Put(t.Context(), episodes(0, 1, 2))...)
	if !errors.Is(err, ErrNewerSchema) || store.ClassOf(s.Check(t.Context())) != store.ClassDenied {
		t.Errorf("%v, expected %v, denied", err, ErrNewerSchema)
	}
}

func TestOtherEncodingIsRefused(t *testing.T) {
	d := newDatabase(t, "ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
	if _, err := Open(Config{URL: d.url, Patience: patience}); !errors.Is(err, ErrEncoding) || !strings.Contains(err.Error(), "LATIN1") {
		t.Errorf("%v, expected %v", err, ErrEncoding)
	}
}

// TestVectorElsewhere has pgvector in a schema that nobody searches, as some hosts have it.
func TestVectorElsewhere(t *testing.T) {
	d := newDatabase(t, "")
	d.do(`CREATE SCHEMA "Extra"`)
	d.do(`CREATE EXTENSION vector SCHEMA "Extra"`)
	s := d.open()
	r := record(1, 0, "a", "fine")
	mustPut(t, s, r)
	if hits := recall(t, s, store.Query{Space: "garden", Vector: storetest.Vector(1), K: 1}); len(hits) != 1 || hits[0].Score < 0.99 {
		t.Errorf("%d hits", len(hits))
	}
}

// TestWithoutRights is a role that may use what an administrator has made, and make nothing.
func TestWithoutRights(t *testing.T) {
	d := newDatabase(t, "")
	d.do("DROP ROLE IF EXISTS humble")
	d.do("CREATE ROLE humble LOGIN")
	t.Cleanup(func() { d.do("DROP OWNED BY humble"); d.do("DROP ROLE humble") })
	humble := func(c *Config) { c.URL = strings.Replace(c.URL, "postgres@", "humble@", 1) }
	s := d.open(humble)
	if err := errors.Join(s.Put(t.Context(), episodes(0, 1, 2))...); store.ClassOf(err) != store.ClassDenied ||
		!strings.Contains(err.Error(), "the user needs CREATE on the database") {
		t.Errorf("%v (%v), expected denied, with what to do", err, store.ClassOf(err))
	}
	d.open() // the administrator's
	d.do("GRANT USAGE ON SCHEMA " + schemaName + " TO humble")
	d.do("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA " + schemaName + " TO humble")
	mustPut(t, s, episodes(0, 1, 2)...)
}
