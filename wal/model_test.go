package wal

import (
	"errors"
	"maps"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is what a journal must hold, whatever was done to it: the records in order, what was released, the counters.
type model struct {
	t     *testing.T
	dir   string
	j     *Journal
	p     *Producer
	cfg   Config
	wrote []Record        // by ascending index; heads and released frames are the journal's own
	gone  map[uint64]bool // indexes in released generations
	asked uint64          // the last index that p appended
	acked uint64          // up to which p has waited
	tally Tally           // released
	seq   uint64
}

func (m *model) open(at Position) {
	m.j = openAt(m.t, m.cfg, at)
	m.p = m.j.NewProducer()
	m.asked, m.acked = 0, 0
}

func (m *model) Append(t *rapid.T) {
	for range rapid.IntRange(1, 8).Draw(t, "records") {
		m.seq++
		r := write(1, m.seq, fill(m.seq, rapid.IntRange(0, 20_000).Draw(t, "size")))
		if rapid.Bool().Draw(t, "session record") {
			r.Kind, r.Form, r.Payload = KindSessionOpened, FormNone, nil
		}
		if err := m.p.Append(&r); err != nil {
			t.Fatal(err)
		}
		if n := len(m.wrote); n > 0 && r.Index <= m.wrote[n-1].Index {
			t.Fatalf("index %d behind %d", r.Index, m.wrote[n-1].Index)
		}
		m.wrote, m.asked = append(m.wrote, r), r.Index
	}
}

func (m *model) Wait(t *rapid.T) {
	if _, err := m.p.Wait(m.t.Context(), m.asked); err != nil {
		t.Fatal(err)
	}
	if m.acked = m.asked; m.j.Durable() < m.acked {
		t.Fatalf("acked %d, durable %d", m.acked, m.j.Durable())
	}
}

func (m *model) Release(t *rapid.T) {
	gens := m.j.Generations()
	if len(gens) == 0 {
		return
	}
	g := rapid.SampledFrom(gens).Draw(t, "generation")
	tally := Tally{}
	for _, r := range m.wrote {
		if r.Kind == KindWrite && r.Index >= g.First && r.Index < g.First+uint64(g.Records) {
			tally.Accepted, tally.Delivered = tally.Accepted+1, tally.Delivered+1
		}
	}
	err := m.j.Release(m.t.Context(), g.Number, tally)
	if !g.Sealed && err != nil {
		return // it may have been sealed since
	}
	if err != nil {
		t.Fatalf("%+v: %v", g, err)
	}
	m.tally = m.tally.Plus(tally)
	for i := range uint64(g.Records) {
		m.gone[g.First+i] = true
	}
	if _, err := os.Stat(GenerationDir(m.dir, g.Number)); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func (m *model) Read(t *rapid.T) {
	pick := map[uint64]Record{}
	for range rapid.IntRange(0, 10).Draw(t, "reads") {
		if len(m.wrote) > 0 {
			if r := rapid.SampledFrom(m.wrote).Draw(t, "record"); r.Index <= m.j.Durable() && !m.gone[r.Index] {
				pick[r.Index] = r
			}
		}
	}
	indexes := slices.Sorted(maps.Keys(pick))
	var want []Record
	for _, i := range indexes {
		want = append(want, pick[i])
	}
	checkRead(t, m.j, indexes, want)
}

// Crash copies the directory as it is, under the journal's feet, and goes on with the copy: what was acked must be in it.
func (m *model) Crash(t *rapid.T) {
	acked := max(m.acked, m.j.Durable())
	dir := copyDir(m.t, m.dir)
	if err := m.j.Close(); err != nil {
		t.Fatal(err)
	}
	m.dir, m.cfg.Dir = dir, dir
	m.reopen(t, acked)
}

func (m *model) Reopen(t *rapid.T) {
	if err := m.j.Close(); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	if len(m.wrote) > 0 {
		last = m.wrote[len(m.wrote)-1].Index
	}
	m.reopen(t, last)
}

// reopen starts again on what is on disk, which must hold everything up to index acked.
func (m *model) reopen(t *rapid.T, acked uint64) {
	f := recoverDir(m.t, m.dir)
	got := map[uint64]Record{}
	for _, r := range f.records {
		got[r.Index] = r
	}
	kept := m.wrote[:0]
	accepted := uint64(0)
	for _, r := range m.wrote {
		g, ok := got[r.Index]
		switch {
		case m.gone[r.Index] && ok:
			t.Fatalf("index %d was released and is back", r.Index)
		case !m.gone[r.Index] && !ok && r.Index <= acked:
			t.Fatalf("index %d was acked and is lost; acked up to %d", r.Index, acked)
		case !m.gone[r.Index] && !ok:
			continue
		case ok && !sameRecord(g, r):
			t.Fatalf("index %d\ngot  %+v\nwant %+v", r.Index, g, r)
		}
		kept = append(kept, r)
		if r.Kind == KindWrite {
			accepted++
		}
	}
	m.wrote = kept
	if f.at.Accepted != accepted || f.at.Released != m.tally {
		t.Fatalf("accepted %d, want %d; released %+v, want %+v", f.at.Accepted, accepted, f.at.Released, m.tally)
	}
	m.open(f.at)
}

func (m *model) Check(t *rapid.T) {
	if err := m.j.Err(); err != nil {
		t.Fatal(err)
	}
	accepted, released := m.j.Totals()
	want := uint64(0)
	for _, r := range m.wrote {
		if r.Kind == KindWrite {
			want++
		}
	}
	if accepted != want || released != m.tally {
		t.Fatalf("accepted %d, want %d; released %+v, want %+v", accepted, want, released, m.tally)
	}
}

func TestJournalAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: t, dir: t.TempDir(), gone: map[uint64]bool{}}
		m.cfg = Config{Dir: m.dir, GenerationBytes: minGenerationBytes, MaxBytes: 1 << 30, ReserveBytes: 1}
		m.open(fresh())
		rt.Repeat(map[string]func(*rapid.T){
			"append": m.Append, "wait": m.Wait, "release": m.Release, "read": m.Read,
			"crash": m.Crash, "reopen": m.Reopen, "": m.Check,
		})
		if err := m.j.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}
