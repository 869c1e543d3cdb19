package wal

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// commits collects what OnCommit tells.
type commits struct {
	sync.Mutex
	batches [][]Record
}

func (c *commits) take(x *Commit) {
	c.Lock()
	defer c.Unlock()
	c.batches = append(c.batches, slices.Clone(x.Records))
}

func TestAcksAreInOrderAndNeverBeforeTheCommit(t *testing.T) {
	const producers, each = 8, 200
	var told atomic.Uint64 // the highest index of which OnCommit has told
	var seen commits
	j := open(t, Config{GenerationBytes: minGenerationBytes, OnCommit: func(c *Commit) {
		seen.take(c)
		told.Store(c.Records[len(c.Records)-1].Index)
	}})
	var wg sync.WaitGroup
	for s := range producers {
		wg.Go(func() { appendInOrder(t, j, byte(s), each, &told) })
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	next, sequence := uint64(1), map[SessionID]uint64{}
	for _, batch := range seen.batches {
		for _, r := range batch {
			if r.Index != next || r.Batch != batch[0].Batch {
				t.Fatalf("index %d of batch %d, want index %d of batch %d", r.Index, r.Batch, next, batch[0].Batch)
			}
			next++
			if r.Kind == KindWrite {
				if sequence[r.Session]++; r.Sequence != sequence[r.Session] {
					t.Fatalf("session %v commits sequence %d, want %d", r.Session, r.Sequence, sequence[r.Session])
				}
			}
		}
	}
	for s := range producers {
		if got := sequence[SessionID{byte(s)}]; got != each {
			t.Errorf("producer %d has %d records, want %d", s, got, each)
		}
	}
	if st := j.Stats(); st.Syncs != uint64(len(seen.batches)) || st.DurableIndex != next-1 || st.NextIndex < next {
		t.Errorf("%d commits up to %d, but %+v", len(seen.batches), next-1, st)
	}
}

// appendInOrder appends and follows the acks as a stream would.
func appendInOrder(t *testing.T, j *Journal, s byte, n uint64, told *atomic.Uint64) {
	p := j.NewProducer()
	if index, at := p.Durable(); index != 0 || !at.IsZero() {
		t.Errorf("a new producer has index %d at %v", index, at)
	}
	var last, acked uint64
	for i := range n {
		r := write(s, i+1, fill(i, 300))
		before := time.Now().Add(-time.Minute)
		if err := p.Append(&r); err != nil {
			t.Error(err)
			return
		}
		if r.Index <= last {
			t.Errorf("index %d behind %d", r.Index, last)
		}
		last = r.Index
		select {
		case <-p.Wake():
		default:
		}
		index, at := p.Durable()
		if index < acked || index > last || index > told.Load() || (index > 0 && at.Before(before)) {
			t.Errorf("durable %d at %v; acked %d before, appended %d, told %d", index, at, acked, last, told.Load())
		}
		acked = index
	}
	if _, err := p.Wait(t.Context(), last); err != nil || told.Load() < last || p.Err() != nil {
		t.Error(err, p.Err())
	}
}

// While one fsync runs everything gathers for the next: one commit holds what all producers brought meanwhile.
func TestOneCommitHoldsAllThatArrivedMeanwhile(t *testing.T) {
	var seen commits
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	j := open(t, Config{OnCommit: func(c *Commit) {
		if seen.take(c); len(c.Records) == 2 { // the head and the first write
			held <- struct{}{}
			<-hold
		}
	}})
	first := j.NewProducer()
	r := write(0, 1, nil)
	if err := first.Append(&r); err != nil {
		t.Fatal(err)
	}
	<-held
	if index, _ := first.Durable(); index != 0 {
		t.Errorf("index %d is acked before OnCommit has returned", index)
	}
	var producers []*Producer
	for s := range byte(5) {
		p := j.NewProducer()
		producers = append(producers, p)
		for n := range uint64(10) {
			r := write(s+1, n+1, nil)
			if err := p.Append(&r); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(hold)
	for i, p := range producers {
		if _, err := p.Wait(t.Context(), uint64(2+10*(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen.batches) != 2 || len(seen.batches[1]) != 50 {
		t.Errorf("%d commits, want 2 and 50 records in the second", len(seen.batches))
	}
}

// What OnCommit is told of is on disk and can be read.
func TestACommitIsOnDiskWhenItIsTold(t *testing.T) {
	dir := t.TempDir()
	var j *Journal
	opened := make(chan struct{})
	j = open(t, Config{Dir: dir, OnCommit: func(c *Commit) {
		<-opened
		_, records := scanDir(t, dir, c.Generation)
		last := c.Records[len(c.Records)-1]
		if n := len(records); n == 0 || !sameRecord(records[n-1], last) {
			t.Errorf("committed %+v, on disk are %d records", last, n)
		}
		if j.Durable() != last.Index {
			t.Errorf("durable %d, committed %d", j.Durable(), last.Index)
		}
		if err := j.Read([]uint64{last.Index}, func(*Record) error { return nil }); err != nil {
			t.Error(err)
		}
	}})
	close(opened)
	for n := range uint64(20) {
		put(t, j, 1, n+1, 100)
	}
}

func TestGenerationsFollowEachOther(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir, GenerationBytes: minGenerationBytes})
	for n := range uint64(100) {
		put(t, j, 1, n+1, 3000)
	}
	gens := j.Generations()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if len(gens) < 4 {
		t.Fatalf("%d generations, want some", len(gens))
	}
	next, writes := uint64(1), uint64(0)
	for i, g := range gens {
		s, records := scanDir(t, dir, g.Number)
		if len(s.Damages) != 0 || g.Number != uint64(i+1) || g.First != next || g.Records != len(records) || g.Bytes != s.Size {
			t.Errorf("%+v, scanned %+v", g, s)
		}
		h := s.Head
		if h == nil || h.Generation != g.Number || h.Journal != testJournal || h.Version != FormatVersion || h.Accepted != writes {
			t.Fatalf("generation %d has head %+v, want %d accepted", g.Number, h, writes)
		}
		if i > 0 && !slices.Equal(h.Live, []Span{{First: 1, Last: g.Number - 1}}) {
			t.Errorf("generation %d names %v as live", g.Number, h.Live)
		}
		if sealed := i < len(gens)-1; g.Sealed != sealed || (sealed && g.Bytes < minGenerationBytes) {
			t.Errorf("%+v, want it sealed: %v", g, sealed)
		}
		next += uint64(len(records))
		writes += uint64(len(records)) - 1
	}
	if accepted, _ := j.Totals(); accepted != 100 || writes != 100 {
		t.Errorf("accepted %d, on disk %d, want 100", accepted, writes)
	}
}

// A record larger than a batch may be is a batch of its own, also as the first of a generation.
func TestRecordLargerThanABatch(t *testing.T) {
	j := open(t, Config{BatchBytes: 4 << 10, MaxBytes: 1 << 30, ReserveBytes: 1})
	for n := range uint64(3) {
		put(t, j, 1, n+1, MaxPayload)
	}
	put(t, j, 1, 4, 10)
}

func TestBatchesStayWithinTheirBound(t *testing.T) {
	const limit = 8 << 10
	largest := 0
	j := open(t, Config{BatchBytes: limit, OnSync: func(records, bytes int, took time.Duration) {
		if records == 0 || took <= 0 {
			t.Errorf("a sync of %d records took %v", records, took)
		}
		largest = max(largest, bytes)
	}})
	var wg sync.WaitGroup
	for s := range byte(4) {
		wg.Go(func() {
			p := j.NewProducer()
			for n := range uint64(50) {
				r := write(s, n+1, fill(n, 1500))
				if err := p.Append(&r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if largest > limit || largest < limit/2 {
		t.Errorf("the largest batch had %d bytes, want nearly %d", largest, limit)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	hold := make(chan struct{})
	j := open(t, Config{OnCommit: func(*Commit) { <-hold }})
	t.Cleanup(func() { close(hold) }) // before the journal is closed
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the client is gone")
	cancel(why)
	r := write(1, 1, nil)
	if _, err := j.Write(ctx, &r); !errors.Is(err, why) {
		t.Error(err)
	}
}

func TestAppendRefusesWhatNoFrameHolds(t *testing.T) {
	j := open(t, Config{})
	if err := j.NewProducer().Append(&Record{Kind: KindWrite, ID: make([]byte, MaxID+1)}); err == nil || j.Stats().NextIndex != 2 {
		t.Errorf("%v, next index %d", err, j.Stats().NextIndex)
	}
	if _, err := j.Write(t.Context(), &Record{}); err == nil {
		t.Error("a record without a kind was taken")
	}
	put(t, j, 1, 1, 10)
}

func TestCloseMakesDurableWhatWasAppended(t *testing.T) {
	for _, size := range []int{10, 40_000} { // with the second, generations end while the journal closes
		for range 20 {
			dir := t.TempDir()
			j := open(t, Config{Dir: dir, GenerationBytes: minGenerationBytes, BatchBytes: 100_000})
			p := j.NewProducer()
			var taken atomic.Uint64
			var wg sync.WaitGroup
			wg.Go(func() {
				for n := range uint64(12) {
					r := write(1, n+1, fill(n, size))
					if err := p.Append(&r); err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
					taken.Store(r.Index)
				}
			})
			for range 2 {
				wg.Go(func() {
					if err := j.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if index, _ := p.Durable(); index != taken.Load() || (index > 0 && j.Durable() != index) {
				t.Fatalf("appended up to %d, durable up to %d and %d", taken.Load(), index, j.Durable())
			}
			if _, err := j.Write(t.Context(), &Record{Kind: KindWrite}); !errors.Is(err, ErrClosed) {
				t.Fatal(err)
			}
			if !errors.Is(j.Err(), ErrClosed) {
				t.Fatal(j.Err())
			}
			if gens := j.Generations(); len(gens) > 0 && !gens[len(gens)-1].Sealed {
				t.Fatalf("%+v", gens)
			}
		}
	}
}

// What was appended before a Close may need another generation: the keeper must not end before the committer.
func TestCloseAtTheEndOfAGeneration(t *testing.T) {
	for range 20 {
		hold, held := make(chan struct{}), make(chan struct{}, 10)
		j := open(t, Config{GenerationBytes: minGenerationBytes, BatchBytes: 2 * minGenerationBytes, OnCommit: func(*Commit) {
			held <- struct{}{}
			<-hold
		}})
		p := j.NewProducer()
		first := write(1, 1, fill(1, minGenerationBytes)) // which ends its generation
		if err := p.Append(&first); err != nil {
			t.Fatal(err)
		}
		<-held
		second := write(1, 2, fill(2, minGenerationBytes)) // is the next one's
		if err := p.Append(&second); err != nil {
			t.Fatal(err)
		}
		closed := make(chan error)
		go func() { closed <- j.Close() }()
		for !errors.Is(j.Err(), ErrClosed) {
			runtime.Gosched()
		}
		close(hold)
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		if index, _ := p.Durable(); index != second.Index || len(j.Generations()) != 2 {
			t.Fatalf("durable %d, want %d; %+v", index, second.Index, j.Generations())
		}
	}
}

// Closing leaves no generation behind that holds nothing, and what is there can still be read.
func TestCloseLeavesOnlyWhatHoldsRecords(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir})
	r := put(t, j, 1, 1, 10)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if got := generationsOn(t, dir); !slices.Equal(got, []uint64{1}) {
		t.Errorf("on disk are %v", got)
	}
	if err := j.Read([]uint64{r.Index}, func(*Record) error { return nil }); err != nil {
		t.Error(err)
	}
	empty := t.TempDir()
	if err := open(t, Config{Dir: empty}).Close(); err != nil {
		t.Fatal(err)
	}
	if got := generationsOn(t, empty); len(got) != 0 {
		t.Errorf("an unused journal leaves %v", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	used := &Scanned{Number: 3, Base: 5, Offsets: []uint32{2, 9}, Records: 2}
	for _, c := range []struct {
		name string
		cfg  Config
		at   Position
		says string
	}{
		{"no directory", Config{}, fresh(), "data-dir"},
		{"a directory that is not there", Config{Dir: "/nonexistent/journal"}, fresh(), "/nonexistent/journal"},
		{"no position", Config{Dir: t.TempDir()}, Position{}, "each begins at 1"},
		{"a generation that is on disk", Config{Dir: t.TempDir()}, Position{Generation: 3, Index: 9, Batch: 9, Generations: []*Scanned{used}}, "expected more"},
		{"an index that is on disk", Config{Dir: t.TempDir()}, Position{Generation: 4, Index: 6, Batch: 9, Generations: []*Scanned{used}}, "expected more"},
		{"generations in disorder", Config{Dir: t.TempDir()}, Position{Generation: 9, Index: 99, Batch: 9, Generations: []*Scanned{used, used}}, "to ascend"},
	} {
		if j, err := Open(c.cfg, c.at); err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "open the journal: ") {
			t.Errorf("%s: %v, want it to say %q", c.name, err, c.says)
			if j != nil {
				_ = j.Close()
			}
		}
	}
}
