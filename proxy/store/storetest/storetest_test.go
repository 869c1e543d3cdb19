package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a store that does everything right, in the plainest way; or one thing wrong.
type memory struct {
	mu      sync.Mutex
	fault   string
	entries []entry
	last    int64
	down    bool // every Put is refused
	loses   bool // the next Put stores, and says that it cannot know
}

type entry struct {
	record wal.Record
	at     time.Time
	vector []float32
	text   string
}

func (m *memory) is(fault string) bool { return m.fault == fault }

func (m *memory) Capabilities() store.Capabilities {
	cues := []store.Cue{store.CueEmbedding, store.CueSemantic, store.CueContext}
	if m.is("takes cues it does not know") {
		cues = cues[:1]
	}
	return store.Capabilities{Name: "memory", Cues: cues, CommitTimes: true, Versions: true, TextAsVector: true}
}

func (m *memory) Close() error { return nil }

func (m *memory) Put(ctx context.Context, batch []wal.Record) []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	errs := make([]error, len(batch))
	lost := m.loses
	m.loses = false
	for i := range batch {
		switch {
		case m.down:
			if errs[i] = store.Unavailable(errors.New("down")); m.is("buries while it is down") {
				errs[i] = store.Permanent(errs[i])
			}
			continue
		case ctx.Err() != nil && m.is("buries on an ended context"):
			errs[i] = store.Permanent(ctx.Err())
		case ctx.Err() != nil && !m.is("confirms without storing"):
			errs[i] = ctx.Err()
		case ctx.Err() == nil:
			errs[i] = m.put(&batch[i])
			if errs[i] != nil && m.is("one refusal refuses all") {
				for j := range errs {
					errs[j] = errs[i]
				}
				return errs
			}
		}
		if lost && !m.is("confirms what it cannot know") {
			errs[i] = store.Unavailable(errors.New("the answer was lost"))
		}
	}
	return errs
}

func (m *memory) put(r *wal.Record) error {
	e := entry{record: *r}
	if err := e.scan(); err != nil {
		if !m.is("stores what is broken") {
			return store.Permanent(err)
		}
		e.text = "?"
	}
	m.last = max(m.last+1, time.Now().UnixNano())
	e.at = time.Unix(0, m.last)
	same := func(old entry) bool {
		return string(old.record.ID) == string(r.ID) && (old.record.Space == r.Space || m.is("spaces share ids"))
	}
	at := slices.IndexFunc(m.entries, same)
	switch {
	case at < 0 || m.is("keeps every version"):
		m.entries = append(m.entries, e)
	case m.entries[at].record.Index >= r.Index && !m.is("the last one wins"):
	case m.is("the first one wins"):
	default:
		m.entries[at] = e
	}
	return nil
}

func (e *entry) scan() (err error) {
	var text []byte
	var v envelope.Vector
	switch e.record.Form {
	case wal.FormRemember:
		var m envelope.Remember
		err = envelope.ScanRemember(e.record.Payload, &m)
		text, v = m.Text, m.Embedding
	case wal.FormExperience:
		var m envelope.Experience
		err = envelope.ScanExperience(e.record.Payload, &m)
		text, v = m.Text, m.Embedding
	default:
		var m envelope.Episode
		err = envelope.ScanEpisode(e.record.Payload, &m)
		text, v = m.What, m.Embedding
	}
	if err == nil {
		e.text, e.vector = string(text), v.AppendFloats(nil)
	}
	return err
}

func (m *memory) Recall(ctx context.Context, q store.Query) (store.Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil && !m.is("recalls for ever") {
		return store.Answer{}, ctx.Err()
	}
	for _, v := range q.Vector {
		if (len(q.Vector) != store.Dimensions || math.IsNaN(float64(v))) && !m.is("takes any cue") {
			return store.Answer{}, store.Permanent(errors.New("no vector"))
		}
	}
	var answer store.Answer
	for _, e := range m.entries {
		if hit, ok := m.hit(&e, &q); ok {
			answer.Hits = append(answer.Hits, hit)
		}
	}
	if q.Vector == nil {
		m.orderByTime(answer.Hits)
	} else {
		m.order(answer.Hits)
	}
	if len(answer.Hits) > q.K && !m.is("no limit") {
		answer.Hits = answer.Hits[:q.K]
	}
	return answer, nil
}

func (m *memory) Versions(ctx context.Context, space string, ids []string) ([]uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	versions := make([]uint64, len(ids))
	for _, e := range m.entries {
		for i, id := range ids {
			if id == string(e.record.ID) && (e.record.Space == space || m.is("tells versions of all spaces")) {
				versions[i] = e.record.Index
			}
		}
	}
	return versions, nil
}

func (m *memory) hit(e *entry, q *store.Query) (store.Hit, bool) {
	h := store.Hit{ID: string(e.record.ID), Version: e.record.Index, CommittedAt: e.at, Form: e.record.Form, Body: e.record.Payload}
	var c envelope.Circumstances
	if store.CircumstancesOf(h.Form, h.Body, &c) != nil ||
		(!q.Filter.Match(&c) && !m.is("any scene will do")) || (e.record.Space != q.Space && !m.is("recalls all spaces")) ||
		(!q.Before.IsZero() && !e.at.Before(q.Before) && !m.is("no commit times")) {
		return h, false
	}
	if q.Vector != nil {
		v := e.vector[:len(q.Vector)-len(q.Vector)%store.Dimensions] // none of it for the cue of a store that takes any
		h.Score, h.HasScore = float32(cosine(q.Vector[:len(v)], v)), true
		return h, h.Score >= q.Threshold || m.is("no threshold")
	}
	return h, true
}

func (m *memory) orderByTime(hits []store.Hit) {
	moment := func(h store.Hit) store.Moment {
		var c envelope.Circumstances
		_ = store.CircumstancesOf(h.Form, h.Body, &c) // it was read before
		return store.Moment{When: c.When, HasWhen: c.HasWhen, ID: h.ID}
	}
	slices.SortFunc(hits, func(a, b store.Hit) int {
		if m.is("the oldest first") {
			a, b = b, a
		}
		return store.Later(moment(a), moment(b))
	})
}

func (m *memory) order(hits []store.Hit) {
	switch {
	case m.is("worst first"):
		slices.SortFunc(hits, func(a, b store.Hit) int { return cmp.Compare(a.Score, b.Score) })
	case m.is("ties in any order"):
		slices.SortStableFunc(hits, func(a, b store.Hit) int { return cmp.Compare(b.Score, a.Score) })
	case m.is("misses the best") && len(hits) > 100:
		copy(hits, hits[1:])
		fallthrough
	default:
		slices.SortFunc(hits, func(a, b store.Hit) int {
			return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
		})
	}
}

func target(m *memory) Target {
	return Target{
		Store: m, Exact: true,
		Contents: func(_ *testing.T, space string) (items []Item) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, e := range m.entries {
				if e.record.Space == space {
					items = append(items, Item{ID: string(e.record.ID), Text: e.text, Version: e.record.Index})
				}
			}
			return items
		},
		Break: func(*testing.T) func() {
			m.down = true
			return func() { m.down = false }
		},
		LoseAnswer: func(*testing.T) { m.loses = true },
		Reopen: func(*testing.T) Target {
			again := &memory{fault: m.fault, entries: slices.Clone(m.entries), last: m.last}
			if m.is("forgets") && len(again.entries) > 12 {
				again.entries = again.entries[:12]
			}
			return target(again)
		},
	}
}

func TestMemory(t *testing.T) {
	fault := os.Getenv("STORETEST_FAULT")
	Run(t, func(*testing.T) Target { return target(&memory{fault: fault}) })
}

// TestSuiteCanFail runs the suite against stores that do one thing wrong, each in a process of its own.
func TestSuiteCanFail(t *testing.T) {
	for _, row := range [][2]string{
		{"keeps every version", "a newer version replaces"},
		{"the last one wins", "an older version changes nothing"},
		{"the first one wins", "one id several times in a batch"},
		{"spaces share ids", "spaces are apart"},
		{"one refusal refuses all", "a refused item leaves the others stored"},
		{"stores what is broken", "a batch of refused items"},
		{"confirms without storing", "an ended context"},
		{"buries on an ended context", "an ended context"},
		{"forgets", "opened anew it has all"},
		{"worst first", "recall is exact"},
		{"misses the best", "recall is exact"},
		{"no threshold", "recall is exact"},
		{"no limit", "recall is exact"},
		{"ties in any order", "recall orders equal scores by id"},
		{"no commit times", "recall by commit time"},
		{"recalls all spaces", "recall in an unknown space"},
		{"takes any cue", "recall refuses what is no vector"},
		{"recalls for ever", "recall with an ended context"},
		{"any scene will do", "recall by context"},
		{"the oldest first", "recall by context"},
		{"takes cues it does not know", "recall refuses a kind of cue it does not know"},
		{"buries while it is down", "down for a while"},
		{"confirms what it cannot know", "an answer that is lost"},
		{"the last one wins", "several versions at once"},
		{"the last one wins", "versions by id"},
		{"tells versions of all spaces", "versions by id"},
		{"any scene will do", "recall by words"},
	} {
		fault, part := row[0], row[1]
		t.Run(fault+" "+part, func(t *testing.T) {
			t.Parallel()
			suite := exec.Command(os.Args[0], "-test.run=^TestMemory$/^"+part+"$")
			suite.Env = append(os.Environ(), "STORETEST_FAULT="+fault)
			out, err := suite.CombinedOutput()
			if err == nil {
				t.Errorf("%q passes a store with the fault %q:\n%s", part, fault, out)
			}
			if strings.Contains(string(out), "panic:") {
				t.Errorf("the suite broke down:\n%s", out)
			}
		})
	}
}

// TestRetries puts off what it is sent, as a store does that has to wait.
func TestRetries(t *testing.T) {
	m := &memory{}
	s := &subject{Target: target(m)}
	s.Store = &hesitant{memory: m}
	records, items := s.several(space, 5)
	s.mustPut(t, records...)
	s.want(t, space, items...)
}

// hesitant takes one item of a batch at a time.
type hesitant struct{ *memory }

func (h *hesitant) Put(ctx context.Context, batch []wal.Record) []error {
	errs := h.memory.Put(ctx, batch[:1])
	for i := range batch[1:] {
		errs = append(errs, []error{store.ErrBehind, store.Unavailable(fmt.Errorf("busy")), errors.New("later")}[i%3])
	}
	return errs
}
