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
}

type entry struct {
	record wal.Record
	at     time.Time
	vector []float32
	text   string
}

func (m *memory) is(fault string) bool { return m.fault == fault }

func (m *memory) Capabilities() store.Capabilities {
	return store.Capabilities{Name: "memory", Cues: []store.Cue{store.CueEmbedding}, CommitTimes: true, Versions: true}
}

func (m *memory) Close() error { return nil }

func (m *memory) Put(ctx context.Context, batch []wal.Record) []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	errs := make([]error, len(batch))
	for i := range batch {
		switch {
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
		score := float32(cosine(q.Vector[:store.Dimensions-1], e.vector))
		if len(q.Vector) == store.Dimensions {
			score = float32(cosine(q.Vector, e.vector))
		}
		out := (e.record.Space != q.Space && !m.is("recalls all spaces")) || (score < q.Threshold && !m.is("no threshold")) ||
			(!q.Before.IsZero() && !e.at.Before(q.Before) && !m.is("no commit times"))
		if out {
			continue
		}
		answer.Hits = append(answer.Hits, store.Hit{
			ID: string(e.record.ID), Score: score, HasScore: true, Version: e.record.Index, CommittedAt: e.at, Form: e.record.Form,
			Body: e.record.Payload,
		})
	}
	m.order(answer.Hits)
	if len(answer.Hits) > q.K && !m.is("no limit") {
		answer.Hits = answer.Hits[:q.K]
	}
	return answer, nil
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
	for fault, part := range map[string]string{
		"keeps every version":        "a newer version replaces",
		"the last one wins":          "an older version changes nothing",
		"the first one wins":         "one id several times in a batch",
		"spaces share ids":           "spaces are apart",
		"one refusal refuses all":    "a refused item leaves the others stored",
		"stores what is broken":      "a batch of refused items",
		"confirms without storing":   "an ended context",
		"buries on an ended context": "an ended context",
		"forgets":                    "opened anew it has all",
		"worst first":                "recall is exact",
		"misses the best":            "recall is exact",
		"no threshold":               "recall is exact",
		"no limit":                   "recall is exact",
		"ties in any order":          "recall orders equal scores by id",
		"no commit times":            "recall by commit time",
		"recalls all spaces":         "recall in an unknown space",
		"takes any cue":              "recall refuses what is no vector",
		"recalls for ever":           "recall with an ended context",
	} {
		t.Run(fault, func(t *testing.T) {
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
