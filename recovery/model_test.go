package recovery

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// model is what a data directory must say, kept beside it: every write with its fate, the fate that the ledger's file has
// of it, and every session.
type model struct {
	t        testing.TB
	rt       *rapid.T
	h        *opened
	sessions map[wal.SessionID]*ledger.Session
	gone     map[wal.SessionID]bool // expired
	writes   map[uint64]*modelWrite
	names    byte
}

type modelWrite struct {
	wal.Record
	fate, written wal.Fate // 0 while it is pending
}

func (m *model) begin(rt *rapid.T) {
	if m.names == 250 {
		return
	}
	m.names++
	s := &ledger.Session{ID: id(m.names), Space: rapid.SampledFrom([]string{"a-a", "b-b"}).Draw(rt, "space"), Lane: wal.Lane(rapid.IntRange(1, 3).Draw(rt, "lane"))}
	m.h.journal(wal.Record{Kind: wal.KindSessionOpened, Session: s.ID, Space: s.Space, Lane: s.Lane})
	m.sessions[s.ID] = s
}

func (m *model) session(rt *rapid.T) *ledger.Session {
	var open []*ledger.Session
	for _, s := range m.sessions {
		if !s.Closed {
			open = append(open, s)
		}
	}
	if len(open) == 0 {
		return nil
	}
	slices.SortFunc(open, func(a, b *ledger.Session) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return rapid.SampledFrom(open).Draw(rt, "session")
}

func (m *model) append(rt *rapid.T) {
	for range rapid.IntRange(1, 6).Draw(rt, "writes") {
		s := m.session(rt)
		r := wal.Record{
			Kind: wal.KindWrite, Form: wal.FormRemember, Lane: wal.LaneNormal, Space: "default",
			Payload: bytes.Repeat([]byte{m.names}, rapid.SampledFrom([]int{10, 9000}).Draw(rt, "size")),
		}
		if s != nil {
			s.Last++
			r.Form, r.Lane, r.Session, r.Sequence, r.Space = wal.FormEpisode, s.Lane, s.ID, s.Last, s.Space
			if rapid.IntRange(0, 3).Draw(rt, "stray") == 0 {
				r.Space = "elsewhere"
			}
		}
		r = m.h.journal(r)
		m.writes[r.Index] = &modelWrite{Record: r}
	}
}

func (m *model) close(rt *rapid.T) {
	if s := m.session(rt); s != nil {
		at := time.Unix(0, int64(m.names)*1e9)
		r := wal.Record{Kind: wal.KindSessionClosed, Session: s.ID, Space: s.Space, Lane: s.Lane, Sequence: s.Last, Time: at.UnixNano()}
		if rapid.Bool().Draw(rt, "payload") {
			r.Payload = wal.CarriedSession{ClosedAt: at.UnixNano()}.Append(nil)
		}
		m.h.journal(r)
		s.Closed, s.ClosedAt = true, at
	}
}

func (m *model) expire(rt *rapid.T) {
	if len(m.sessions) == 0 {
		return
	}
	ids := slices.SortedFunc(maps.Keys(m.sessions), func(a, b wal.SessionID) int { return bytes.Compare(a[:], b[:]) })
	s := rapid.SampledFrom(ids).Draw(rt, "session")
	m.h.journal(wal.Record{Kind: wal.KindSessionExpired, Session: s})
	delete(m.sessions, s)
	m.gone[s] = true
}

// some draws writes of a kind.
func (m *model) some(rt *rapid.T, want func(*modelWrite) bool) []*modelWrite {
	var all []*modelWrite
	for _, w := range m.writes {
		if want(w) {
			all = append(all, w)
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b *modelWrite) int { return cmp.Compare(a.Index, b.Index) })
	n := rapid.IntRange(1, len(all)).Draw(rt, "count")
	if rapid.Bool().Draw(rt, "oldest") {
		return all[:n]
	}
	rand.New(rand.NewPCG(uint64(rapid.Int().Draw(rt, "seed")), 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n]
}

func (m *model) settle(rt *rapid.T) {
	for _, w := range m.some(rt, func(w *modelWrite) bool { return w.fate == 0 }) {
		if !m.h.Ledger.Settle(w.Index, w.Session, wal.Delivered) {
			rt.Fatalf("%d was not pending", w.Index)
		}
		w.fate = wal.Delivered
	}
}

func (m *model) bury(rt *rapid.T) {
	for _, w := range m.some(rt, func(w *modelWrite) bool { return w.fate == 0 }) {
		if err := m.h.Ledger.Bury(ledger.Letter{Record: w.Record, Reason: "no", Attempts: 3, DiedAt: time.Unix(5, 0)}); err != nil {
			rt.Fatal(err)
		}
		w.fate = wal.Dead
	}
}

func (m *model) resolve(rt *rapid.T) {
	for _, w := range m.some(rt, func(w *modelWrite) bool { return w.fate == wal.Dead }) {
		f := rapid.SampledFrom([]wal.Fate{wal.Delivered, wal.Dropped}).Draw(rt, "fate")
		if err := m.h.Ledger.Resolve(context.Background(), m.h.Journal, w.Index, f); err != nil {
			rt.Fatal(err)
		}
		w.fate = f
	}
}

func (m *model) flush(*rapid.T) { m.h.flush(); m.written() }

func (m *model) round(*rapid.T) { m.h.round(); m.written() }

// unreleased is a journal that has no room for a released record: what a crash leaves between carrying and releasing.
type unreleased struct{ *wal.Journal }

func (unreleased) Release(context.Context, uint64, wal.Tally) error { return wal.ErrFull }

func (m *model) halfRound(rt *rapid.T) {
	if err := m.h.Ledger.Round(context.Background(), unreleased{m.h.Journal}); err != nil {
		rt.Fatal(err)
	}
	m.written()
}

func (m *model) written() {
	for _, w := range m.writes {
		w.written = w.fate
	}
}

// reopen stops in one of many ways and starts again.
func (m *model) reopen(rt *rapid.T) {
	lose := rapid.IntRange(0, 2).Draw(rt, "lose the ledger") == 0
	clean := rapid.Bool().Draw(rt, "clean")
	dir := m.h.dir
	if clean {
		m.written()
	} else {
		dir = m.h.crash()
	}
	told := tell(m.t, dir)
	live := m.h.Journal.Generations()
	m.h.close()
	if !clean && rapid.Bool().Draw(rt, "torn") {
		m.tear(rt, dir)
	}
	if lose {
		loseLedger(m.t, dir)
	}
	for _, w := range m.writes {
		m.restart(w, told, lose, slices.ContainsFunc(live, func(g wal.Generation) bool {
			return w.Index >= g.First && w.Index < g.First+uint64(g.Records)
		}))
	}
	m.h = openDir(m.t, dir)
	m.check(rt)
}

// restart is what a write's fate is after a restart.
func (m *model) restart(w *modelWrite, told map[uint64]wal.Fate, lost, live bool) {
	late := told[w.Index]
	switch {
	case !live: // told by heads and released records
	case late == wal.Delivered || late == wal.Dropped:
		w.fate = late
	case lost:
		w.fate = late // dead where the letter was carried
	case w.written != 0 || late == 0:
		w.fate = w.written
	default:
		w.fate = late
	}
	w.written = w.fate
}

// tell collects what the journal itself says of fates.
func tell(t testing.TB, dir string) map[uint64]wal.Fate {
	f, err := wal.ReadFormat(dir)
	if err != nil {
		t.Fatal(err)
	}
	told := map[uint64]wal.Fate{}
	for _, n := range generationsOn(t, dir) {
		_, err := wal.ScanGeneration(JournalDir(dir), f.Journal, n, func(r *wal.Record) error {
			switch r.Kind {
			case wal.KindCarriedLetter:
				if c, err := wal.DecodeCarriedLetter(r.Payload); err == nil && told[c.Index] == 0 {
					told[c.Index] = wal.Dead
				}
			case wal.KindSettled:
				if s, err := wal.DecodeSettled(r.Payload); err == nil {
					told[s.Index] = s.Fate
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return told
}

// tear leaves what a crash leaves of a batch that was never acknowledged.
func (m *model) tear(rt *rapid.T, dir string) {
	gens := generationsOn(m.t, dir)
	for _, n := range slices.Backward(gens) {
		b, err := os.ReadFile(wal.SegmentPath(JournalDir(dir), n))
		if err != nil || len(b) == 0 {
			continue // being made ready
		}
		tail := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(rt, "tail")
		if err := os.WriteFile(wal.SegmentPath(JournalDir(dir), n), append(b, tail...), 0o600); err != nil {
			m.t.Fatal(err)
		}
		return
	}
}

// check compares everything that can be asked.
func (m *model) check(rt *rapid.T) {
	var want ledger.Balance
	var pending, dead []uint64
	left := map[wal.SessionID]uint64{}
	for i, w := range m.writes {
		want.Accepted++
		want.Tally = want.Add(w.fate, 1)
		switch w.fate {
		case 0:
			pending = append(pending, i)
			left[w.Session]++
		case wal.Dead:
			dead = append(dead, i)
		}
	}
	slices.Sort(pending)
	slices.Sort(dead)
	want.Pending = uint64(len(pending))
	if got := m.h.Ledger.Balance(); got != want {
		rt.Fatalf("balance %+v, want %+v", got, want)
	}
	if accepted, _ := m.h.Journal.Totals(); accepted != want.Accepted {
		rt.Fatalf("the journal counts %d accepted, want %d", accepted, want.Accepted)
	}
	if len(m.h.Report.Damages) != 0 {
		rt.Fatalf("damage: %v", m.h.Report.Damages[0])
	}
	var got []uint64
	m.h.Ledger.Pending(func(first, last uint64) bool {
		for ; first <= last; first++ {
			got = append(got, first)
		}
		return true
	})
	if !slices.Equal(got, pending) {
		rt.Fatalf("pending %v, want %v", got, pending)
	}
	if got := m.h.Ledger.Letters(); !slices.Equal(got, dead) {
		rt.Fatalf("letters %v, want %v", got, dead)
	}
	for _, i := range dead {
		l, err := m.h.Ledger.Letter(i)
		if err != nil {
			rt.Fatal(err)
		}
		w := m.writes[i]
		if !bytes.Equal(l.Payload, w.Payload) || l.Reason != "no" || l.Session != w.Session || l.Space != w.Space || l.Attempts != 3 || !l.DiedAt.Equal(time.Unix(5, 0)) {
			rt.Fatalf("letter %+v, want that of %+v", l, w)
		}
	}
	m.checkSessions(rt, left)
}

func (m *model) checkSessions(rt *rapid.T, left map[wal.SessionID]uint64) {
	got := m.h.Ledger.Sessions()
	if len(got) != len(m.sessions) {
		rt.Fatalf("%d sessions, want %d", len(got), len(m.sessions))
	}
	for _, s := range got {
		want := m.sessions[s.ID]
		if want == nil || s.Space != want.Space || s.Lane != want.Lane || s.Last != want.Last || s.Closed != want.Closed || !s.ClosedAt.Equal(want.ClosedAt) {
			rt.Fatalf("session %+v, want %+v", s, want)
		}
		if n, _ := m.h.Ledger.Remaining(s.ID); n != left[s.ID] {
			rt.Fatalf("session %v has %d pending, want %d", s.ID, n, left[s.ID])
		}
	}
}

// checkStart compares what only a start tells: the runs that the queue begins with.
func (m *model) checkStart(rt *rapid.T) {
	var want []uint64
	for i, w := range m.writes {
		if w.fate == 0 {
			want = append(want, i)
		}
	}
	slices.Sort(want)
	if got := m.h.indexes(); !slices.Equal(got, want) {
		rt.Fatalf("the queue begins with %v, want %v", got, want)
	}
	for _, r := range m.h.Pending {
		for i := r.First; i <= r.Last; i++ {
			if m.writes[i].Lane != r.Lane {
				rt.Fatalf("run %+v holds %d, of lane %v", r, i, m.writes[i].Lane)
			}
		}
	}
}

func TestEveryStartTellsTheSameStory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{
			t: t, rt: rt, h: openDir(t, memoryDir(t)), sessions: map[wal.SessionID]*ledger.Session{},
			gone: map[wal.SessionID]bool{}, writes: map[uint64]*modelWrite{},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"":        m.check,
			"begin":   m.begin,
			"append":  m.append,
			"append2": m.append,
			"close":   m.close,
			"expire":  m.expire,
			"settle":  m.settle,
			"settle2": m.settle,
			"bury":    m.bury,
			"resolve": m.resolve,
			"flush":   m.flush,
			"round":   m.round,
			"half":    m.halfRound,
			"round2":  m.round,
			"reopen":  func(rt *rapid.T) { m.reopen(rt); m.checkStart(rt) },
			"reopen2": func(rt *rapid.T) { m.reopen(rt); m.checkStart(rt) },
		})
		m.h.close()
	})
}
