package ledger

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// builder is one that has read the file of a desk and been told of its records, but for those of the indexes in without.
func (d *desk) builder(without ...uint64) *Builder {
	d.t.Helper()
	b, err := Load(d.dir, testJournal, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := range d.history {
		if slices.Contains(without, d.history[i].Index) {
			continue
		}
		if err := b.Apply(d.history[i].generation, &d.history[i].Record); err != nil {
			d.t.Fatal(err)
		}
	}
	return b
}

// What was damaged is lost but where its fate is known; a dead letter whose write is damaged is told to the journal at once.
func TestDamage(t *testing.T) {
	d := newDesk(t)
	d.commit(wal.Record{Kind: wal.KindHead}, opened(1))
	at := d.commit(observations(1, 6)...)
	d.Settle(at[0], id(1), wal.Delivered)
	d.bury(at[1], observed(1, 2))
	d.flush()
	d.close()
	b := d.builder(at[0], at[1], at[2], at[5])
	if b.Base(1) != 1 || b.Base(2) != 0 || b.KnownLast(1) != at[1] || b.KnownLast(2) != 0 {
		t.Fatalf("the file knows generation 1 from %d to %d", b.Base(1), b.KnownLast(1))
	}
	if b.Fate(at[0]) != wal.Delivered || b.Fate(at[1]) != wal.Dead || b.Fate(at[2]) != 0 {
		t.Fatal("fates in the file")
	}
	for _, i := range []uint64{at[0], at[1], at[2], at[5], at[5], at[4]} { // one twice, and one that is whole
		b.Damage(1, i)
	}
	b.Reconcile()
	if got := b.Balance(); got.Tally != (wal.Tally{Accepted: 6, Delivered: 1, Dead: 1, Damaged: 2}) || got.Pending != 2 {
		t.Fatalf("balance %+v", got)
	}
	if b.Writes(1) != 6 || b.Writes(7) != 0 || b.WritesThrough(at[2]) != 3 || b.WritesThrough(99) != 6 || b.WritesThrough(1) != 0 {
		t.Fatalf("%d writes, %d through the third", b.Writes(1), b.WritesThrough(at[2]))
	}
	if b.Pending(at[2]) || !b.Pending(at[3]) || b.Pending(99) {
		t.Fatal("pending")
	}
	l, err := b.Build(d.read)
	if err != nil {
		t.Fatal(err)
	}
	d.Ledger = l
	if x := l.x.letters[at[1]]; x == nil || x.home != 0 {
		t.Fatalf("letter %+v", x)
	}
	d.letters(at[1])
}

// A generation of which the first records are damaged has room for them in its account.
func TestBegin(t *testing.T) {
	d := newDesk(t)
	d.commit(wal.Record{Kind: wal.KindHead}, opened(1))
	d.generation()
	at := d.commit(observations(1, 3)...)
	d.close()
	d.loseFile()
	b, err := Load(d.dir, testJournal, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range d.history {
		if r.generation == 2 && i == 2 {
			b.Begin(2, 1) // lower than can be: generation 1 ends at 2
		}
		if r.Index != at[0] && r.Kind != wal.KindHead {
			if err := b.Apply(r.generation, &d.history[i].Record); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.Damage(2, at[0])
	b.Damage(2, 2) // generation 1 holds that
	b.Damage(9, 77)
	if got := b.Balance(); got.Tally != (wal.Tally{Accepted: 4, Damaged: 2}) {
		t.Fatalf("balance %+v", got)
	}
	d.Ledger, err = b.Build(d.read)
	if err != nil {
		t.Fatal(err)
	}
}

// Two generations never tell of the same index; a directory where they do is not guessed about.
func TestGenerationsThatOverlap(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 3)...)
	d.gen++
	r := observed(1, 2)
	r.Index = at[1]
	if err := d.builderOf().Apply(2, &r); !errors.Is(err, wal.ErrDamaged) {
		t.Fatalf("apply: %v", err)
	}
}

func (d *desk) builderOf() *Builder { d.close(); return d.builder() }

// A generation that is not there is lost but for what the file knows of it, and its account is kept until it is forgotten.
func TestLose(t *testing.T) {
	d := newDesk(t)
	at := d.commit(observations(1, 6)...)
	d.Settle(at[0], id(1), wal.Delivered)
	d.Settle(at[1], id(1), wal.Dropped)
	d.bury(at[2], observed(1, 3))
	d.generation()
	d.flush()
	all := d.history
	for _, c := range []struct {
		writes uint64
		want   wal.Tally
	}{
		{6, wal.Tally{Accepted: 6, Delivered: 1, Dropped: 1, Dead: 1, Damaged: 3}},
		{2, wal.Tally{Accepted: 2, Damaged: 2}}, // fewer than have a fate: these cannot be the ones
	} {
		for range 2 {
			d.history = all[6:]
			d.close()
			b := d.builder()
			if n := b.KnownGenerations(); !slices.Equal(n, []uint64{1}) || len(b.KnownSessions()) != 1 {
				t.Fatalf("the file knows generations %v", n)
			}
			b.Lose(c.writes, 1)
			if b.Gone() != c.want {
				t.Fatalf("gone %+v, want %+v", b.Gone(), c.want)
			}
			b.Reconcile()
			if c.want.Dead == 1 {
				if x := b.x.letters[at[2]]; x == nil || x.home != 0 {
					t.Fatalf("letter %+v", x)
				}
			}
			var err error
			if d.Ledger, err = b.Build(d.read); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.close()
	d.loseFile()
	b := d.builder()
	b.Lose(6, 1)
	b.Lose(1)
	if b.Gone() != (wal.Tally{Accepted: 7, Damaged: 7}) || b.KnownGenerations() != nil || b.KnownSessions() != nil {
		t.Fatalf("gone %+v", b.Gone())
	}
	d.Ledger, _ = b.Build(d.read)
}

// A header that was read proves its session, and lowers none.
func TestProve(t *testing.T) {
	d := newDesk(t)
	d.commit(opened(1), observed(1, 1), opened(2), expired(2))
	d.close()
	b := d.builder()
	b.Prove(Session{ID: id(1), Space: "elsewhere", Last: 7})
	b.Prove(Session{ID: id(1), Space: "elsewhere", Last: 3})
	b.Prove(Session{ID: id(2), Last: 9})
	b.Prove(Session{Last: 9})
	at := time.Unix(3, 0)
	b.Prove(Session{ID: id(3), Space: "third", Lane: wal.LaneLow, Last: 2, Closed: true, ClosedAt: at})
	b.Reconcile()
	var err error
	if d.Ledger, err = b.Build(d.read); err != nil {
		t.Fatal(err)
	}
	if s := d.session(1); s.Last != 7 || s.Space != "default" || s.Closed || len(d.Sessions()) != 2 {
		t.Fatalf("sessions %+v", d.Sessions())
	}
	if s := d.session(3); s.Last != 2 || s.Space != "third" || !s.ClosedAt.Equal(at) {
		t.Fatalf("session %+v", s)
	}
	for _, n := range []byte{1, 3} {
		if !d.x.orphan(d.x.sessions[id(n)]) {
			t.Errorf("session %d has a home", n)
		}
	}
}

// What only the file knows of a session counts: its own space, that it was closed, how far it had come.
func TestFileKnowsMoreThanTheJournal(t *testing.T) {
	d := newDesk(t)
	stray := observed(1, 1)
	stray.Space = "elsewhere"
	d.commit(opened(1), stray, observed(1, 2), opened(2))
	d.commit(wal.Record{Kind: wal.KindSessionClosed, Session: id(2), Space: "default", Lane: wal.LaneNormal, Time: 5})
	d.flush()
	d.history = []told{d.history[1], d.history[3]} // the first record that is left went elsewhere
	d.reload(nil)
	if s := d.session(1); s.Space != "default" || s.Last != 2 {
		t.Fatalf("session %+v", s)
	}
	if s := d.session(2); !s.Closed || s.ClosedAt.UnixNano() != 5 {
		t.Fatalf("session %+v", s)
	}
	for _, n := range []byte{1, 2} {
		if !d.x.orphan(d.x.sessions[id(n)]) {
			t.Errorf("session %d has a home", n)
		}
	}
}

// A write whose late fate is told by a record that does not name its session is attributed when it is known whose it was.
func TestStrays(t *testing.T) {
	d := newDesk(t)
	at := d.commit(opened(1), observed(1, 1), observed(1, 2))
	d.bury(at[1], observed(1, 1))
	d.commit(settled(at[1], wal.Dropped))
	d.close()
	d.loseFile()
	b := d.builder()
	if s := b.Strays(); len(s) != 1 || !slices.Equal(s[1], at[1:2]) {
		t.Fatalf("strays %v", s)
	}
	b.Attribute(id(1))
	b.Attribute(id(77))
	var err error
	if d.Ledger, err = b.Build(d.read); err != nil {
		t.Fatal(err)
	}
	if n, _ := d.Remaining(id(1)); n != 1 {
		t.Fatalf("%d remain", n)
	}
}

// Carried letters that neither journal nor file hold any more are counted as damaged, not as dead.
func TestLostLetters(t *testing.T) {
	d := newDesk(t)
	l := letterAt(1000, observed(1, 1))
	d.commit(l.record())
	d.close()
	b := d.builder()
	b.Released(wal.Tally{Accepted: 9, Delivered: 6, Dead: 3}, 0)
	b.Reconcile()
	if b.Gone() != (wal.Tally{Accepted: 9, Delivered: 6, Dead: 1, Damaged: 2}) {
		t.Fatalf("gone %+v", b.Gone())
	}
	var err error
	if d.Ledger, err = b.Build(d.read); err != nil {
		t.Fatal(err)
	}
}

// A file found damaged only when it is to be written is set aside, and the next attempt makes a new one.
func TestBuildFindsTheFileDamaged(t *testing.T) {
	d := newDesk(t)
	d.commit(opened(1))
	d.flush()
	d.close()
	b := d.builder()
	d.put([]byte("no database"))
	if _, err := b.Build(d.read); !errors.Is(err, ErrDamaged) {
		t.Fatalf("build: %v", err)
	}
	aside, err := os.ReadFile(d.path() + ".damaged")
	if err != nil || string(aside) != "no database" {
		t.Fatalf("aside %q, %v", aside, err)
	}
	b = d.builder()
	if !errors.Is(b.Lost(), os.ErrNotExist) {
		t.Fatal(b.Lost())
	}
	if d.Ledger, err = b.Build(d.read); err != nil {
		t.Fatal(err)
	}
}

func TestBuildFails(t *testing.T) {
	broken := errors.New("broken")
	d := newDesk(t)
	l := letterAt(1000, observed(1, 1))
	d.commit(l.record())
	d.close()
	d.loseFile()
	b := d.builder()
	if _, err := b.Build(func(uint64, func(*wal.Record) error) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("build: %v", err)
	}
	if err := os.MkdirAll(d.path()+".damaged/in the way", 0o700); err != nil {
		t.Fatal(err)
	}
	d.put([]byte("no database"))
	b = d.builder()
	if _, err := b.Build(d.read); err == nil || errors.Is(err, ErrDamaged) {
		t.Fatalf("build: %v", err)
	}
	if err := errors.Join(os.RemoveAll(d.path()+".damaged"), os.Remove(d.path())); err != nil {
		t.Fatal(err)
	}
	d.load(nil)
}
