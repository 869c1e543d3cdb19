package ledger

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// shop is a ledger beside a real journal of small generations.
type shop struct {
	*desk
	j *wal.Journal
}

func newShop(t testing.TB) *shop { t.Helper(); return newShopIn(t, memoryDir(t)) }

// newShopIn keeps the ledger in dir, and the journal elsewhere.
func newShopIn(t testing.TB, dir string) *shop {
	t.Helper()
	s := &shop{desk: newDeskIn(t, dir)}
	var err error
	s.j, err = wal.Open(wal.Config{Dir: memoryDir(t), GenerationBytes: 64 << 10, OnCommit: s.Committed},
		wal.Position{Journal: testJournal, Generation: 1, Index: 1, Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.j.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *shop) write(records ...wal.Record) (indexes []uint64) {
	s.t.Helper()
	for i := range records {
		if _, err := s.j.Write(context.Background(), &records[i]); err != nil {
			s.t.Fatal(err)
		}
		indexes = append(indexes, records[i].Index)
	}
	return indexes
}

// fill writes for session n until the newest generation is finished; the last of the indexes stands in the next one.
func (s *shop) fill(n byte, sequence uint64) (indexes []uint64) {
	s.t.Helper()
	r := observed(n, 0)
	r.Payload = bytes.Repeat([]byte{n}, 6000)
	for before := uint64(0); ; {
		sequence++
		r.Sequence, r.Time = sequence, 0
		indexes = append(indexes, s.write(r)...)
		newest := s.generations()[len(s.generations())-1]
		if before == 0 {
			before = newest
		} else if newest != before {
			return indexes
		}
	}
}

func (s *shop) generations() (out []uint64) {
	for _, g := range s.j.Generations() {
		out = append(out, g.Number)
	}
	return out
}

func (s *shop) deliver(n byte, indexes ...uint64) {
	s.t.Helper()
	for _, i := range indexes {
		if !s.Settle(i, id(n), wal.Delivered) {
			s.t.Fatalf("index %d was not pending", i)
		}
	}
}

func (s *shop) round() {
	s.t.Helper()
	if err := s.Round(context.Background(), s.j); err != nil {
		s.t.Fatal(err)
	}
}

// left fails where these are not the generations that are there, or journal and ledger count differently.
func (s *shop) left(want ...uint64) {
	s.t.Helper()
	if got := s.generations(); !slices.Equal(got, want) {
		s.t.Fatalf("generations %v, want %v", got, want)
	}
	accepted, released := s.j.Totals()
	if accepted != s.Balance().Accepted || released != s.x.released {
		s.t.Fatalf("the journal counts %d accepted and %+v released, the ledger %+v and %+v", accepted, released, s.Balance(), s.x.released)
	}
	for _, g := range s.x.gens {
		if !slices.Contains(want, g.number) {
			s.t.Fatalf("there is an account of generation %d", g.number)
		}
	}
}

func TestGenerationsAreReleasedOutOfOrder(t *testing.T) {
	s := newShop(t)
	s.write(opened(1), opened(2))
	first, second, third, fourth := s.fill(1, 0), s.fill(1, 100), s.fill(1, 200), s.fill(1, 300)
	want, durable := s.Balance().Accepted, s.j.Durable()
	s.round()
	s.left(1, 2, 3, 4, 5)
	if n := s.j.Durable() - durable; n != 0 {
		t.Fatalf("%d records carried out of generations that stay", n)
	}
	s.deliver(1, second...) // the last of these stands in the third generation
	s.deliver(1, first[len(first)-1])
	s.round()
	s.left(1, 3, 4, 5)
	s.deliver(1, fourth...)
	s.deliver(1, third[len(third)-1])
	s.deliver(1, first[1:len(first)-1]...)
	s.round()
	s.left(1, 3, 5) // one record pins the first, and nothing behind it
	s.deliver(1, first[0])
	s.deliver(1, third[:len(third)-1]...)
	s.round()
	s.left(5)
	s.balanced(wal.Tally{Accepted: want, Delivered: want})
}

// A generation whose letter met a late fate in the newest generation stays until that is finished: the next head knows then.
func TestLateFateBeforeTheRelease(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	all := s.fill(1, 0)
	s.bury(all[0], observed(1, 1))
	s.deliver(1, all[1:]...)
	if err := s.Resolve(t.Context(), s.j, all[0], wal.Dropped); err != nil {
		t.Fatal(err)
	}
	s.round()
	s.left(1, 2)
	s.deliver(1, s.fill(1, 100)...)
	s.round()
	s.left(3)
	n := s.Balance().Accepted
	s.balanced(wal.Tally{Accepted: n, Delivered: n - 1, Dropped: 1})
}

// A late fate of a letter whose generation is gone moves the counters of journal and ledger alike.
func TestLateFateAfterTheRelease(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	all := s.fill(1, 0)
	s.bury(all[0], observed(1, 1))
	s.deliver(1, all[1:]...)
	s.round()
	s.left(2)
	if err := s.Resolve(t.Context(), s.j, all[0], wal.Delivered); err != nil {
		t.Fatal(err)
	}
	s.left(2)
	n := s.Balance().Accepted
	s.balanced(wal.Tally{Accepted: n, Delivered: n})
	s.letters()
}

// A letter that cannot be read keeps its generation and no other, and what it says is logged once.
func TestUnreadableLetterKeepsItsGeneration(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	first, second := s.fill(1, 0), s.fill(1, 100)
	s.bury(first[0], observed(1, 1))
	s.deliver(1, append(first[1:], second...)...)
	s.flush()
	err := s.disk.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketNames[bucketLetters]).Put(key64(first[0]), []byte("nothing of the kind"))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.round()
	s.round()
	s.left(1, 3)
	if _, err := s.Letter(first[0]); !errors.Is(err, ErrDamaged) {
		t.Fatalf("letter: %v", err)
	}
	if !s.x.letters[first[0]].unread {
		t.Fatal("not noted")
	}
}

// notReleasing is a journal that fails where the keeper would release.
type notReleasing struct {
	*wal.Journal
	err error
}

func (j notReleasing) Release(context.Context, uint64, wal.Tally) error { return j.err }

func TestJournalThatDoesNotRelease(t *testing.T) {
	s := newShop(t)
	s.write(opened(1), opened(2))
	s.deliver(1, s.fill(1, 0)...)
	for _, err := range []error{wal.ErrFull, wal.ErrClosed, wal.ErrHeld} {
		if got := s.Round(t.Context(), notReleasing{s.j, err}); got != nil {
			t.Errorf("%v: %v", err, got)
		}
		s.left(1, 2)
	}
	if err := s.Round(t.Context(), notReleasing{s.j, wal.ErrFailed}); !errors.Is(err, wal.ErrFailed) {
		t.Fatalf("failed: %v", err)
	}
	s.round() // and nothing of it did any harm
	s.left(2)
	if s.session(2).ID != id(2) {
		t.Fatal("an idle session is gone")
	}
}

// While the file cannot be written nothing is released, for what is settled may have to be told again.
func TestNothingIsReleasedUnwritten(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	s.deliver(1, s.fill(1, 0)...)
	db := s.disk.let()
	if err := s.Round(t.Context(), s.j); err != nil {
		t.Fatal(err)
	}
	s.left(1, 2)
	s.disk.mu.Lock()
	s.disk.db = db
	s.disk.mu.Unlock()
	s.disk.broken = nil
	s.round()
	s.left(2)
}

// Run flushes and releases by itself, and once more when it is told to end.
func TestRun(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	all := s.fill(1, 0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	released := make(chan uint64, 10)
	go func() { done <- s.Run(ctx, watched{s.j, released}) }()
	s.deliver(1, all[:len(all)-1]...)
	if n := <-released; n != 1 {
		t.Fatalf("released %d", n)
	}
	s.Settle(all[len(all)-1], id(1), wal.Delivered)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.left(2)
	if c := s.collect(); c != nil {
		t.Fatalf("not written: %+v", c)
	}
}

type watched struct {
	*wal.Journal
	released chan<- uint64
}

func (j watched) Release(ctx context.Context, n uint64, t wal.Tally) error {
	err := j.Journal.Release(ctx, n, t)
	j.released <- n
	return err
}

func TestRunEndsWhereTheDiskFails(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	s.deliver(1, s.fill(1, 0)...)
	broken := errors.New("input/output error")
	if err := s.Run(t.Context(), notReleasing{s.j, broken}); !errors.Is(err, broken) {
		t.Fatalf("run: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx, notReleasing{s.j, broken}); err != nil {
		t.Fatalf("run that ends at once: %v", err)
	}
}

// The file may be closed before the keeper has ended: it goes on without, and ends when it is told to.
func TestCloseWhileTheKeeperRuns(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, s.j) }()
	all := s.fill(1, 0)
	s.close()
	s.deliver(1, all...)
	s.write(observed(1, 100))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.balanced(wal.Tally{Accepted: uint64(len(all)) + 1, Delivered: uint64(len(all))})
}
