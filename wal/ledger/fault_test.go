package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// A file that is cut under the map does not end the process: the fault becomes an error, bbolt is left alone from then on,
// even by Close, and the next start builds anew.
func TestFileCutUnderTheMap(t *testing.T) {
	for name, use := range map[string]func(d *desk, letter uint64) error{
		"reading": func(d *desk, letter uint64) error { _, err := d.Letter(letter); return err },
		"writing": func(d *desk, _ uint64) error { d.commit(observations(2, 3)...); return d.Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			at := d.commit(observations(1, 2)...)
			d.bury(at[0], observed(1, 1))
			d.flush()
			if err := os.Truncate(d.path(), 0); err != nil {
				t.Fatal(err)
			}
			if err := use(d, at[0]); !errors.Is(err, ErrDamaged) {
				t.Fatalf("error %v", err)
			}
			if err := use(d, at[0]); err == nil {
				t.Fatal("used again")
			}
			accepted := d.Balance().Accepted
			d.moved() // as in another process: this one keeps bbolt's lock on the file
			if b := d.reload(nil); !errors.Is(b.Lost(), ErrDamaged) {
				t.Fatalf("lost %v", b.Lost())
			}
			d.balanced(wal.Tally{Accepted: accepted})
		})
	}
}

// moved goes on in a copy of the directory.
func (d *desk) moved() {
	d.t.Helper()
	content, err := os.ReadFile(d.path())
	if err != nil {
		d.t.Fatal(err)
	}
	d.dir = memoryDir(d.t)
	d.put(content)
}

// A panic in bbolt is an error, and never a lock that nobody gives back.
func TestPanicInBbolt(t *testing.T) {
	d := newDesk(t)
	err := d.disk.update(func(*bbolt.Tx) error { panic("page 7 is no page") })
	if !errors.Is(err, ErrDamaged) || !errors.Is(err, errFault) {
		t.Fatalf("error %v", err)
	}
	if err := d.Flush(); err != nil {
		t.Fatalf("nothing to write: %v", err)
	}
	d.commit(opened(1))
	if err := d.Flush(); err == nil {
		t.Fatal("written after a fault")
	}
}

// What only the file knows is told to the journal at the first look: sessions, and letters a portion at a time.
func TestAdoption(t *testing.T) {
	s := newShop(t)
	s.write(opened(1))
	want := make([]uint64, 5)
	for i := range want {
		want[i] = uint64(1000 + i)
		l := letterAt(want[i], observed(2, uint64(i+1)))
		l.Payload = bytes.Repeat([]byte{byte(i)}, 400<<10)
		s.x.letters[want[i]] = &letter{session: id(2), since: nowhere, size: l.size()}
		s.keep(&l)
	}
	s.x.raise(Session{ID: id(3), Space: "third", Lane: wal.LaneHigh, Last: 7}, true)
	before := s.j.Durable()
	s.round()
	s.round()
	number := s.generations()[len(s.generations())-1]
	for _, i := range want {
		if x := s.x.letters[i]; x == nil || x.home == 0 || x.home > number {
			t.Fatalf("letter %+v", x)
		}
	}
	if x := s.x.sessions[id(3)]; x.home == 0 || x.told == 0 || x.Last != 7 || x.Space != "third" {
		t.Fatalf("session %+v", x)
	}
	if n := s.j.Durable() - before; n < 6 || n > 6+uint64(len(s.generations())) { // and heads
		t.Fatalf("%d records", n)
	}
}

// A journal that takes nothing more ends a round without an error, and leaves the producer fit for the next one.
func TestCarryingIntoAClosedJournal(t *testing.T) {
	s := newShop(t)
	s.write(opened(1), opened(2))
	s.deliver(1, s.fill(1, 0)...)
	if err := s.j.Close(); err != nil {
		t.Fatal(err)
	}
	sealed := []wal.Generation{{Number: 1, Bytes: 64 << 10, Sealed: true}}
	if err := s.Round(t.Context(), closedJournal{s.j, sealed}); err != nil {
		t.Fatalf("round: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.release(ctx, closedJournal{s.j, sealed}, sealed); err != nil && !errors.Is(err, wal.ErrClosed) {
		t.Fatalf("release: %v", err)
	}
	if s.x.generation(1) == nil {
		t.Fatal("generation 1 was forgotten")
	}
}

type closedJournal struct {
	*wal.Journal
	generations []wal.Generation
}

func (j closedJournal) Generations() []wal.Generation { return j.generations }

// A finished generation of which no record was told is released for what it is.
func TestGenerationWithoutAnAccount(t *testing.T) {
	d := newDesk(t)
	if got := d.leaving([]wal.Generation{{Number: 9, Sealed: true}}); len(got) != 1 || got[0] != 9 {
		t.Fatalf("leaving %v", got)
	}
	if tally, ok := d.empty(9); !ok || tally != (wal.Tally{}) {
		t.Fatalf("%+v, %v", tally, ok)
	}
	d.forget(9)
	if !d.gone.gens[9] {
		t.Fatal("not forgotten")
	}
}

// Between the looks of one round something may come back to a generation: it stays for the next.
func TestSomethingCameBack(t *testing.T) {
	d := newDesk(t)
	at := d.commit(opened(1), observed(1, 1))
	d.Settle(at[1], id(1), wal.Delivered)
	if _, ok := d.empty(1); ok {
		t.Fatal("a session has its home there")
	}
	d.generation()
	d.commit(observed(1, 2))
	if tally, ok := d.empty(1); !ok || tally != (wal.Tally{Accepted: 1, Delivered: 1}) {
		t.Fatalf("%+v, %v", tally, ok)
	}
	d.x.letters[at[1]] = &letter{home: 1}
	if _, ok := d.empty(1); ok {
		t.Fatal("a letter has its home there")
	}
	delete(d.x.letters, at[1])
	d.commit(observed(1, 3))
	if _, ok := d.empty(2); ok {
		t.Fatal("writes are pending there")
	}
}

// A free list says how long it is in one of two ways, and names no page twice, nor one that is in use or beyond the end.
func TestFreeList(t *testing.T) {
	const size = 512
	list := func(count uint16, ids ...uint64) *pages {
		b := make([]byte, 9*size)
		le := binary.LittleEndian
		le.PutUint64(b[2*size:], 2)
		le.PutUint16(b[2*size+8:], flagFreeList)
		le.PutUint16(b[2*size+10:], count)
		for i, id := range ids {
			le.PutUint64(b[2*size+pageHeader+8*i:], id)
		}
		return &pages{f: bytes.NewReader(b), size: size, end: 9, seen: map[uint64]bool{5: true}}
	}
	for name, c := range map[string]struct {
		pages *pages
		free  int // -1: damaged
	}{
		"empty":            {list(0), 0},
		"short":            {list(2, 3, 4), 2},
		"long":             {list(0xffff, 3, 3, 4, 6), 3},
		"too long":         {list(100, 3), -1},
		"much too long":    {list(0xffff, 1<<61, 3), -1},
		"twice":            {list(2, 3, 3), -1},
		"in use":           {list(1, 5), -1},
		"beyond the end":   {list(1, 9), -1},
		"one of the metas": {list(1, 1), -1},
	} {
		free, err := c.pages.freeList(2)
		if (err != nil) != (c.free < 0) || (err == nil && len(free) != c.free) || (err != nil && !errors.Is(err, ErrDamaged)) {
			t.Errorf("%s: %v, %v", name, free, err)
		}
	}
	if _, err := list(0).freeList(5); !errors.Is(err, ErrDamaged) {
		t.Errorf("no free list: %v", err)
	}
}
