package forward

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

var (
	errDown    = store.Unavailable(errors.New("connection refused"))
	errToken   = store.Denied(errors.New("token expired"))
	errBad     = store.Permanent(errors.New("embedding: expected 768 dimensions, got 3"))
	errHiccup  = errors.New("internal: try again")
	errFull    = errors.New("ledger full")
	errNoFiles = errors.New("too many open files")
)

// secret stands in every payload; it must not stand in the log.
const secret = "what the episode tells"

// fakeStore answers as each record's and the store's script says. It keeps its side of the contract: the order within a
// session, and ErrBehind for what follows a failure.
type fakeStore struct {
	mu      sync.Mutex
	whole   func() error                                   // asked once a Put: a failure of the whole store, or nil
	one     func(r *wal.Record) error                      // asked for each record that is tried, or nil
	delay   func(n int) time.Duration                      // how long a Put of n records takes, or nil
	lose    bool                                           // store, then answer as if the store had failed
	stored  []wal.Record                                   // in the order of their first storing
	came    int                                            // how often something was stored
	last    map[uint64]int                                 // the last of these, by index
	has     map[uint64]bool                                // by index
	puts    [][]uint64                                     // the indexes of each Put
	at      []time.Time                                    // when each Put came
	busy    map[wal.SessionID]bool                         // sessions in a Put now
	problem string                                         // a breach of the dispatcher's side
	deaf    bool                                           // do not heed the context
	after   func(batch []wal.Record, errs []error) []error // changes the answers, or nil
}

func (s *fakeStore) Put(ctx context.Context, batch []wal.Record) []error {
	s.arrive(batch)
	defer s.leave(batch)
	errs := make([]error, len(batch))
	if s.delay != nil && !s.linger(ctx, s.delay(len(batch))) {
		for i := range errs {
			errs[i] = ctx.Err()
		}
		return errs
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var failure error
	if s.whole != nil {
		failure = s.whole()
	}
	failed := map[wal.SessionID]bool{}
	for i := range batch {
		r := &batch[i]
		switch {
		case failure != nil && !s.lose:
			errs[i] = failure
		case failed[r.Session]:
			errs[i] = store.ErrBehind
		default:
			if s.one != nil {
				errs[i] = s.one(r)
			}
			if store.ClassOf(errs[i]) == store.ClassTransient && !r.Session.IsZero() {
				failed[r.Session] = true
			}
			if errs[i] == nil {
				s.keep(r)
				errs[i] = failure
			}
		}
	}
	if s.after != nil {
		errs = s.after(batch, errs)
	}
	return errs
}

func (s *fakeStore) linger(ctx context.Context, d time.Duration) bool {
	if s.deaf {
		ctx = context.Background()
	}
	return wait(ctx, d)
}

// lastly is what is stored, in the order of the last time that it came.
func (s *fakeStore) lastly() []wal.Record {
	out := slices.Clone(s.stored)
	slices.SortFunc(out, func(a, b wal.Record) int { return cmp.Compare(s.last[a.Index], s.last[b.Index]) })
	return out
}

func (s *fakeStore) keep(r *wal.Record) {
	s.came++
	s.last[r.Index] = s.came
	if !s.has[r.Index] {
		s.has[r.Index] = true
		s.stored = append(s.stored, *r)
	}
}

func (s *fakeStore) arrive(batch []wal.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var indexes []uint64
	for i := range batch {
		indexes = append(indexes, batch[i].Index)
		if id := batch[i].Session; !id.IsZero() && s.busy[id] {
			s.problem = fmt.Sprintf("session %v is in two Puts at once", id)
		}
	}
	for i := range batch {
		s.busy[batch[i].Session] = true
	}
	if len(batch) == 0 {
		s.problem = "a Put without records"
	}
	s.puts = append(s.puts, indexes)
	s.at = append(s.at, time.Now())
}

func (s *fakeStore) leave(batch []wal.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		delete(s.busy, batch[i].Session)
	}
}

// sent returns the indexes of each Put so far.
func (s *fakeStore) sent() [][]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.puts)
}

// tries counts the Puts that held a record.
func (s *fakeStore) tries(index uint64) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, put := range s.puts {
		if slices.Contains(put, index) {
			n++
		}
	}
	return n
}

// fakeJournal holds the records, some of them damaged.
type fakeJournal struct {
	mu      sync.Mutex
	records map[uint64]wal.Record
	bad     map[uint64]error
	broken  func() error // asked once a Read, or nil
	lie     func(visit func(*wal.Record) error) (bool, error)
	reads   [][]uint64
}

func (j *fakeJournal) Read(indexes []uint64, visit func(*wal.Record) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reads = append(j.reads, slices.Clone(indexes))
	if !slices.IsSorted(indexes) {
		return fmt.Errorf("indexes do not ascend: %v", indexes)
	}
	if j.broken != nil {
		if err := j.broken(); err != nil {
			return err
		}
	}
	if j.lie != nil {
		if lied, err := j.lie(visit); lied {
			return err
		}
	}
	for _, index := range indexes {
		if err := j.bad[index]; err != nil {
			return err
		}
		r := j.records[index]
		if err := visit(&r); err != nil {
			return err
		}
	}
	return nil
}

func (j *fakeJournal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.reads)
}

// fakeSink notes what is reported.
type fakeSink struct {
	mu       sync.Mutex
	outcomes map[uint64][]string
	order    []wal.Record
	letters  map[uint64]Letter
	refuse   func() error // asked once a Bury, or nil
}

func (s *fakeSink) Settle(r *wal.Record, o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes[r.Index] = append(s.outcomes[r.Index], o.String())
	s.order = append(s.order, *r)
}

func (s *fakeSink) Bury(l Letter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		if err := s.refuse(); err != nil {
			return err
		}
	}
	s.outcomes[l.Index] = append(s.outcomes[l.Index], "dead")
	s.letters[l.Index] = l
	s.order = append(s.order, l.Record)
	return nil
}

func (s *fakeSink) outcome(index uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.outcomes[index])
}

func (s *fakeSink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.outcomes)
}

// rig is a Forwarder between fakes. It lives in a synctest bubble.
type rig struct {
	t       testing.TB
	cfg     Config
	queue   *queue.Queue
	cache   *queue.Cache[wal.Record]
	store   *fakeStore
	journal *fakeJournal
	sink    *fakeSink
	reports Sink // in the place of sink, or nil
	log     bytes.Buffer
	f       *Forwarder

	last      uint64 // the highest index
	sequences map[wal.SessionID]uint64
	stop      func()
}

func newRig(t testing.TB, cfg Config) *rig {
	return &rig{
		t: t, cfg: cfg, queue: queue.New(queue.Config{}, nil),
		store:     &fakeStore{has: map[uint64]bool{}, last: map[uint64]int{}, busy: map[wal.SessionID]bool{}},
		journal:   &fakeJournal{records: map[uint64]wal.Record{}, bad: map[uint64]error{}},
		sink:      &fakeSink{outcomes: map[uint64][]string{}, letters: map[uint64]Letter{}},
		sequences: map[wal.SessionID]uint64{},
	}
}

// start makes a Forwarder and runs it until stop.
func (g *rig) start() {
	g.t.Helper()
	if g.reports == nil {
		g.reports = g.sink
	}
	f, err := New(g.cfg, Deps{
		Queue: g.queue, Cache: g.cache, Store: g.store, Source: g.journal, Sink: g.reports,
		Logger: hclog.New(&hclog.LoggerOptions{Output: &g.log, Level: hclog.Debug}),
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.f = f
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	g.stop = func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Errorf("Run: %v", err)
		}
		if g.store.problem != "" {
			g.t.Error(g.store.problem)
		}
		if bytes.Contains(g.log.Bytes(), []byte(secret)) {
			g.t.Error("the log tells what is in an episode")
		}
	}
}

// session returns the id of a small number; 0 is no session.
func session(n int) wal.SessionID { return wal.SessionID{14: byte(n), 15: byte(n)} }

// write puts a record into the journal and the queue, and returns its index.
func (g *rig) write(lane, sessionNumber int) uint64 {
	g.last++
	id := session(sessionNumber)
	r := wal.Record{
		Kind: wal.KindWrite, Form: wal.FormEpisode, Lane: wal.Lane(lane) + wal.LaneHigh, Session: id, Space: "default",
		Payload: []byte(secret), Index: g.last, Time: time.Now().UnixNano(),
	}
	if sessionNumber != 0 {
		g.sequences[id]++
		r.Sequence = g.sequences[id]
	}
	g.journal.mu.Lock()
	g.journal.records[r.Index] = r
	g.journal.mu.Unlock()
	if g.cache != nil {
		g.cache.Put(r.Index, r, len(r.Payload))
	}
	g.queue.Push(lane, r.Index, time.Now())
	return r.Index
}

// pass lets time pass, and everyone finish what came due.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// settle lets time pass until n records are reported. It fails after a day.
func (g *rig) settle(n int) {
	g.t.Helper()
	for range 24 * 3600 * 10 {
		synctest.Wait()
		if g.sink.count() >= n {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	g.t.Fatalf("%d records are reported after a day, want %d; %+v", g.sink.count(), n, g.f.Stats())
}

// want checks the one outcome of a record.
func (g *rig) want(index uint64, outcome string) {
	g.t.Helper()
	if got := g.sink.outcome(index); got != "["+outcome+"]" {
		g.t.Errorf("record %d came to %v, want [%s]", index, got, outcome)
	}
}

// bubble runs a test in a synctest bubble.
func bubble(t *testing.T, cfg Config, run func(t *testing.T, g *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { run(t, newRig(t, cfg)) })
}
