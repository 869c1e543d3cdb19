package postgres

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
)

// indexes counts those that work.
const indexes = `SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
	WHERE a.amname = 'hnsw' AND i.indisvalid`

// waitForIndex returns when so many hnsw indexes are built. A benchmark's are large.
func waitForIndex(t testing.TB, d *database, n int) {
	t.Helper()
	longest := patience
	if _, large := t.(*testing.B); large {
		longest = 30 * time.Minute
	}
	for end := time.Now().Add(longest); one[int](d, indexes) != n; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d hnsw indexes are valid, expected %d, after %v", one[int](d, indexes), n, longest)
		}
	}
}

func withIndex(c *Config) { c.Index = IndexHNSW }

// TestIndexIsBuiltAndUsed also asks what the index cannot know: spaces, filters, and more than it has in sight.
func TestIndexIsBuiltAndUsed(t *testing.T) {
	d := newDatabase(t, "")
	s := d.open(withIndex)
	waitForIndex(t, d, 1)
	mustPut(t, s, episodes(0, 1, 200)...)
	other := record(900, 0, "alone", "in a space of its own")
	other.Space = "cellar"
	mustPut(t, s, other)
	if hits := recall(t, s, store.Query{Space: "garden", Vector: storetest.Vector(42), K: 5}); len(hits) != 5 || hits[0].ID != "id-0042" {
		t.Errorf("%d hits, expected 5 with id-0042 first", len(hits))
	}
	if hits := recall(t, s, store.Query{Space: "cellar", Vector: storetest.Vector(42), K: 5, Threshold: -1}); len(hits) != 1 || hits[0].ID != "alone" {
		t.Errorf("%d hits, expected the one memory there is", len(hits))
	}
	if hits := recall(t, s, store.Query{Space: "garden", Vector: storetest.Vector(42), K: 500, Threshold: -1}); len(hits) != 200 {
		t.Errorf("%d hits, expected all 200", len(hits))
	}
	d.do("ANALYZE " + memories)
	known := s.known.Load()
	question := newQuestion(known, &store.Query{Space: "garden", Vector: storetest.Vector(42), K: 5}, true)
	d.do("SET enable_seqscan TO off; SET enable_sort TO off; SET enable_bitmapscan TO off")
	if plan := explain(t, d, question); !strings.Contains(plan, "memories_hnsw") {
		t.Errorf("the statement cannot use the index:\n%s", plan)
	}
	if plan := explain(t, d, newQuestion(known, &store.Query{Space: "garden", Vector: storetest.Vector(42), K: 5}, false)); strings.Contains(plan, "memories_hnsw") {
		t.Errorf("the exact statement uses the index:\n%s", plan)
	}
}

// TestIndexConformance is the suite with an index, where small spaces are answered exactly all the same.
func TestIndexConformance(t *testing.T) {
	if os.Getenv("NIGHTLY") != "1" {
		t.Skip("every insert into the graph takes a millisecond: NIGHTLY=1 runs it")
	}
	storetest.Run(t, func(t *testing.T) storetest.Target {
		target := newDatabase(t, "").target(withIndex)
		target.Exact = false
		return target
	})
}

// TestIndexLeftHalfBuilt is what a crash, or a cancelled statement, leaves behind.
func TestIndexLeftHalfBuilt(t *testing.T) {
	d := newDatabase(t, "")
	mustPut(t, d.open(), episodes(0, 1, 20)...)
	d.do("CREATE INDEX memories_hnsw ON " + memories + " USING hnsw (embedding vector_cosine_ops)")
	d.do("UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 'engram_sidecar.memories_hnsw'::regclass")
	before := one[uint32](d, "SELECT 'engram_sidecar.memories_hnsw'::regclass::oid")
	d.open(withIndex)
	d.open(withIndex) // two that see it at the same time
	waitForIndex(t, d, 1)
	if after := one[uint32](d, "SELECT 'engram_sidecar.memories_hnsw'::regclass::oid"); after == before {
		t.Error("it is still the old one")
	}
}

// TestAnAdministratorsIndexWillDo is one under another name.
func TestAnAdministratorsIndexWillDo(t *testing.T) {
	d := newDatabase(t, "")
	d.open()
	d.do("CREATE INDEX by_hand ON " + memories + " USING hnsw (embedding vector_cosine_ops) WITH (m = 8)")
	s := d.open()
	s.cfg.Index = IndexHNSW
	if err := s.buildIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := one[int](d, indexes); n != 1 {
		t.Errorf("%d indexes, expected the one that was there", n)
	}
}

// explain returns the plan of a statement.
func explain(t *testing.T, d *database, q question) (plan string) {
	t.Helper()
	result := d.conn.PgConn().ExecParams(t.Context(), "EXPLAIN "+q.sql, q.params, q.types, binaryFormat, nil).Read()
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	for _, row := range result.Rows {
		plan += string(row[0]) + "\n"
	}
	return plan
}
