package postgres

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
)

// partitioned returns the statements of docs/scaling.md that make a table which is partitioned by space.
func partitioned(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "<!-- partitions -->\n```sql\n")
	statements, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("docs/scaling.md has no statements behind <!-- partitions -->")
	}
	return statements
}

// TestPartitionsConformance is the suite on a table that is partitioned as docs/scaling.md says.
func TestPartitionsConformance(t *testing.T) {
	statements := partitioned(t)
	storetest.Run(t, func(t *testing.T) storetest.Target {
		d := newDatabase(t, "")
		d.do(statements)
		target := d.target()
		if kind := one[string](d, "SELECT relkind::text FROM pg_class WHERE oid = $1::regclass", memories); kind != "p" {
			t.Fatalf("the table is of kind %s, expected a partitioned one", kind)
		}
		return target
	})
}

// TestPartitionsAreSpread shows that memories lie in several partitions, that a recall looks into one, and that each gets an
// index.
func TestPartitionsAreSpread(t *testing.T) {
	d := newDatabase(t, "")
	d.do(partitioned(t))
	s := d.open(withIndex)
	index := uint64(0)
	for space := range 40 {
		for range 5 {
			index++
			r := record(index, 0, fmt.Sprintf("id-%d", index), "fine")
			r.Space = fmt.Sprintf("space-%02d", space)
			mustPut(t, s, r)
		}
	}
	if n := one[int](d, "SELECT count(DISTINCT tableoid) FROM "+memories); n < 4 {
		t.Errorf("40 spaces lie in %d partitions", n)
	}
	leaves := one[int](d, "SELECT count(*) FROM pg_partition_tree($1::regclass) WHERE isleaf", memories)
	waitForIndex(t, d, leaves)
	plan := explain(t, d, newQuestion(s.known.Load(), &store.Query{Space: "space-07", Vector: storetest.Vector(1), K: 3}, true))
	looked := map[string]bool{} // a bitmap scan names its partition twice
	for _, m := range regexp.MustCompile(` on memories_(\d+)`).FindAllStringSubmatch(plan, -1) {
		looked[m[1]] = true
	}
	if len(looked) != 1 {
		t.Errorf("a recall looks into %d partitions:\n%s", len(looked), plan)
	}
	hits := recall(t, s, store.Query{Space: "space-07", Vector: storetest.Vector(36), K: 9, Threshold: -1})
	if len(hits) != 5 || hits[0].ID != "id-36" {
		t.Errorf("%d hits, expected the 5 of the space with id-36 first", len(hits))
	}
}

// TestNoPartitionForASpace buries nothing at once: an administrator can make one.
func TestNoPartitionForASpace(t *testing.T) {
	d := newDatabase(t, "")
	d.do("CREATE SCHEMA " + schemaName + "; CREATE EXTENSION vector")
	d.do(createMemories + " PARTITION BY LIST (space)")
	d.do("CREATE TABLE " + schemaName + ".memories_garden PARTITION OF " + memories + " FOR VALUES IN ('garden')")
	s := d.open()
	batch := episodes(0, 1, 5)
	batch[2].Space = "orchard"
	for i, err := range s.Put(t.Context(), batch) {
		if (i == 2) != (err != nil) || store.ClassOf(err) == store.ClassPermanent {
			t.Errorf("%d: %v (%v)", i, err, store.ClassOf(err))
		}
	}
	d.do("CREATE TABLE " + schemaName + ".memories_rest PARTITION OF " + memories + " DEFAULT")
	mustPut(t, s, batch...)
}
