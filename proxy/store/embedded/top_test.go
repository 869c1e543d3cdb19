package embedded

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestTop compares with sorting everything, for candidates that come in any order to several workers.
func TestTop(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := rapid.IntRange(1, 20).Draw(rt, "k")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		kinds := rapid.IntRange(1, 50).Draw(rt, "different scores")
		var all []candidate
		workers := make([]top, rapid.IntRange(1, 3).Draw(rt, "workers"))
		for row := range uint32(rapid.IntRange(0, 3000).Draw(rt, "rows")) {
			c := candidate{score: float32(r.IntN(kinds)) / 50, row: row}
			all = append(all, c)
			w := &workers[r.IntN(len(workers))]
			w.k = k
			w.offer(c)
		}
		merged := &workers[0]
		merged.k = k
		for i := range workers[1:] {
			merged.merge(&workers[1+i])
		}
		slices.SortFunc(all, best)
		want := all
		if len(all) > k {
			end := k
			for end < len(all) && end < k+tieLimit && all[end].score == all[k-1].score {
				end++
			}
			want = all[:end]
		}
		if got := merged.sorted(); !slices.Equal(got, want) {
			rt.Errorf("k %d of %d candidates: got %d, expected %d", k, len(all), len(got), len(want))
		}
	})
}

// TestTable compares the table with a map, with hashes of which many are the same.
func TestTable(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var tab table
		hashes := []uint64{}       // by row
		names := []int{}           // by row
		newest := map[int]uint32{} // name → row
		hashBy := map[int]uint64{} // name → hash
		bits := rapid.IntRange(0, 64).Draw(rt, "bits")
		hashOfRow := func(row uint32) uint64 { return hashes[row] }
		for row := range uint32(rapid.IntRange(0, 3000).Draw(rt, "rows")) {
			name := rapid.IntRange(0, 1500).Draw(rt, "name")
			hash, known := hashBy[name]
			if !known {
				hash = rapid.Uint64().Draw(rt, "hash")
				if bits < 64 {
					hash &= 1<<bits - 1
				}
				hashBy[name] = hash
			}
			found, ok := tab.find(hash, hashOfRow, func(row uint32) bool { return names[row] == name })
			want, wantOK := newest[name]
			if ok != wantOK || (ok && found != want) {
				rt.Fatalf("found row %d (%v) of name %d, expected %d (%v)", found, ok, name, want, wantOK)
			}
			hashes, names = append(hashes, hash), append(names, name)
			if ok {
				if !tab.replace(hash, found, row) {
					rt.Fatalf("row %d was not there to replace", found)
				}
			} else {
				tab.insert(hash, row, hashOfRow)
			}
			newest[name] = row
		}
		if tab.replace(1, 1<<30, 0) {
			rt.Error("replaced a row that is not there")
		}
	})
}

func TestSweep(t *testing.T) {
	sp := &space{}
	for row := range uint32(5000) {
		sp.rows = append(sp.rows, row)
	}
	before := sp.rows
	isDead := func(row uint32) bool { return row%3 != 0 }
	sp.dead = 1000
	if sp.sweep(isDead); len(sp.rows) != 5000 {
		t.Error("swept for little")
	}
	sp.dead = 3333
	sp.sweep(isDead)
	if len(sp.rows) != 1667 || sp.dead != 0 || slices.ContainsFunc(sp.rows, isDead) {
		t.Errorf("%d rows are left, %d dead", len(sp.rows), sp.dead)
	}
	if len(before) != 5000 || before[1] != 1 {
		t.Error("a list that a recall may hold was changed")
	}
}
