package storetest

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// testHistory compares the store with a map through random batches, redeliveries and new starts. Each run of it has spaces
// of its own, since the store is not emptied in between.
func testHistory(t *testing.T, s *subject) {
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		h := history{t: t, s: s, run: run, newest: map[string]map[string]Item{}}
		rt.Repeat(map[string]func(*rapid.T){
			"store":     h.store,
			"redeliver": h.redeliver,
			"reopen":    h.reopen,
			"compare":   h.compare,
		})
		h.compare(rt)
	})
}

type history struct {
	t      *testing.T
	s      *subject
	run    int
	sent   []wal.Record
	newest map[string]map[string]Item
}

func (h *history) store(rt *rapid.T) {
	var batch []wal.Record
	for range rapid.IntRange(1, 12).Draw(rt, "items") {
		space := fmt.Sprintf("run-%d-%d", h.run, rapid.IntRange(0, 2).Draw(rt, "space"))
		id := fmt.Sprintf("id-%d", rapid.IntRange(0, 9).Draw(rt, "id"))
		text := fmt.Sprintf("index %d", h.s.index+1)
		r := h.s.next(space, id, text)
		batch = append(batch, r)
		if h.newest[space] == nil {
			h.newest[space] = map[string]Item{}
		}
		h.newest[space][id] = item(&r, text)
	}
	h.s.mustPut(h.t, batch...)
	h.sent = append(h.sent, batch...)
}

// redeliver sends again what was sent, as after a crash before the ledger's commit. A store that keeps no versions may only
// be sent the newest of each id.
func (h *history) redeliver(rt *rapid.T) {
	if len(h.sent) == 0 {
		return
	}
	versions := h.s.Store.Capabilities().Versions
	from := rapid.IntRange(0, len(h.sent)-1).Draw(rt, "from")
	var batch []wal.Record
	for _, r := range h.sent[from:min(len(h.sent), from+15)] {
		if versions || h.newest[r.Space][string(r.ID)].Version == r.Index {
			batch = append(batch, r)
		}
	}
	h.s.mustPut(h.t, batch...)
}

func (h *history) reopen(rt *rapid.T) {
	if h.s.Reopen != nil && rapid.IntRange(0, 3).Draw(rt, "die") == 3 {
		h.s.Target = h.s.Reopen(h.t)
	}
}

func (h *history) compare(*rapid.T) {
	for space, items := range h.newest {
		var want []Item
		for _, it := range items {
			want = append(want, it)
		}
		h.s.want(h.t, space, want...)
	}
}
