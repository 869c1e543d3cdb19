package postgres

import (
	"os"
	"sync"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
)

// TestPooler stores and recalls through PgBouncer in transaction mode, which gives each transaction whatever connection is
// free, here always the same one, and knows no prepared statements. The schema is made through it too, and the index.
func TestPooler(t *testing.T) {
	p := harness.NewPostgres(t, "fsync=off")
	pooler := p.Pooler(t)
	d := databaseIn(t, p, "")
	stores := make([]*Store, 3)
	for i := range stores {
		stores[i] = d.open(func(c *Config) { c.URL, c.Index = d.through(pooler), IndexHNSW })
	}
	var all sync.WaitGroup
	for i, s := range stores {
		all.Go(func() {
			for n := range uint64(10) {
				for _, err := range s.Put(t.Context(), episodes(byte(i), 1+100*uint64(i)+10*n, 10)) {
					if err != nil {
						t.Error(err)
					}
				}
				q := store.Query{Space: "garden", Vector: storetest.Vector(1), K: 3}
				if _, err := s.Recall(t.Context(), q); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := one[int](d, "SELECT count(*) FROM "+memories); n != 300 {
		t.Errorf("%d memories, expected 300", n)
	}
	waitForIndex(t, d, 1)
	for _, h := range recall(t, stores[0], store.Query{Space: "garden", Vector: storetest.Vector(7), K: 1}) {
		if h.ID != "id-0007" {
			t.Errorf("found %s, expected the memory with that vector", h.ID)
		}
	}
}

// TestPoolerConformance is the whole suite through it.
func TestPoolerConformance(t *testing.T) {
	if os.Getenv("NIGHTLY") != "1" {
		t.Skip("the suite runs without a pooler anyway: NIGHTLY=1 runs it")
	}
	p := harness.NewPostgres(t, "fsync=off")
	pooler := p.Pooler(t)
	storetest.Run(t, func(t *testing.T) storetest.Target {
		d := databaseIn(t, p, "")
		d.wire = harness.NewWire(t, pooler)
		return d.target()
	})
}
