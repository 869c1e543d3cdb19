package ledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(loadInChildEnv); path != "" {
		os.Exit(loadInChild(path))
	}
	goleak.VerifyTestMain(m)
}

var testJournal = [16]byte{4, 2}

// desk is a ledger and the journal's records that it was told of, without a journal.
type desk struct {
	*Ledger
	t       testing.TB
	dir     string
	gen     uint64 // that commits go to
	next    uint64 // index
	history []told
}

type told struct {
	generation uint64
	wal.Record
}

func newDesk(t testing.TB) *desk { t.Helper(); return newDeskIn(t, memoryDir(t)) }

func newDeskIn(t testing.TB, dir string) *desk {
	t.Helper()
	d := &desk{t: t, dir: dir, gen: 1, next: 1}
	d.load(nil)
	t.Cleanup(d.close)
	return d
}

// memoryDir is a fresh directory in memory where there is such a file system: what is tested is what was written.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ledger-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (d *desk) close() {
	if err := d.Close(); err != nil {
		d.t.Error(err)
	}
}

// reload closes the ledger without a flush and builds it again from its file and the records; where it is not nil, between
// is called before the file is opened.
func (d *desk) reload(between func()) *Builder {
	d.t.Helper()
	d.close()
	return d.load(between)
}

func (d *desk) load(between func()) *Builder {
	d.t.Helper()
	if between != nil {
		between()
	}
	b, err := Load(d.dir, testJournal, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	b.Released(wal.Tally{}, 0)
	for i := range d.history {
		if err := b.Apply(d.history[i].generation, &d.history[i].Record); err != nil {
			d.t.Fatal(err)
		}
	}
	b.Reconcile()
	if d.Ledger, err = b.Build(d.read); err != nil {
		d.t.Fatal(err)
	}
	return b
}

func (d *desk) read(generation uint64, visit func(*wal.Record) error) error {
	for i := range d.history {
		if d.history[i].generation == generation {
			if err := visit(&d.history[i].Record); err != nil {
				return err
			}
		}
	}
	return nil
}

// commit tells the ledger of durable records and returns their indexes.
func (d *desk) commit(records ...wal.Record) (indexes []uint64) {
	d.t.Helper()
	for i := range records {
		records[i].Index = d.next
		if records[i].Time == 0 {
			records[i].Time = int64(d.next)
		}
		indexes = append(indexes, d.next)
		d.next++
		d.history = append(d.history, told{d.gen, records[i]})
	}
	d.Committed(&wal.Commit{Generation: d.gen, Records: records, At: time.Now()})
	return indexes
}

// generation begins the next generation.
func (d *desk) generation() {
	d.t.Helper()
	d.gen++
	d.commit(wal.Record{Kind: wal.KindHead})
}

func (d *desk) flush() {
	d.t.Helper()
	if err := d.Flush(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) balanced(want wal.Tally) {
	d.t.Helper()
	if got := d.Balance(); got != (Balance{Tally: want, Pending: want.Pending()}) {
		d.t.Fatalf("balance %+v, want %+v", got, want)
	}
}

func (d *desk) pending() (out []uint64) {
	d.Pending(func(first, last uint64) bool {
		for ; first <= last; first++ {
			out = append(out, first)
		}
		return true
	})
	return out
}

func (d *desk) path() string { return filepath.Join(d.dir, FileName) }

func id(n byte) wal.SessionID { return wal.SessionID{n, 1} }

func opened(n byte) wal.Record {
	return wal.Record{Kind: wal.KindSessionOpened, Session: id(n), Space: "default", Lane: wal.LaneNormal}
}

func observed(n byte, sequence uint64) wal.Record {
	return wal.Record{
		Kind: wal.KindWrite, Form: wal.FormEpisode, Lane: wal.LaneNormal, Session: id(n), Sequence: sequence,
		Space: "default", ID: []byte{'m', n, byte(sequence)}, Payload: bytes.Repeat([]byte{n}, 20),
	}
}

// observations are writes of session n, from sequence 1 on.
func observations(n byte, count int) (out []wal.Record) {
	for i := range count {
		out = append(out, observed(n, uint64(i+1)))
	}
	return out
}

func expired(n byte) wal.Record { return wal.Record{Kind: wal.KindSessionExpired, Session: id(n)} }

func letterAt(index uint64, r wal.Record) Letter {
	r.Index = index
	return Letter{Record: r, Reason: "the store says no", Attempts: 2, DiedAt: time.Unix(9, 9)}
}

func (d *desk) bury(index uint64, r wal.Record) {
	d.t.Helper()
	if err := d.Bury(letterAt(index, r)); err != nil {
		d.t.Fatal(err)
	}
}

// letters fails where these are not the dead letters, each whole.
func (d *desk) letters(want ...uint64) {
	d.t.Helper()
	if got := d.Letters(); !slices.Equal(got, want) {
		d.t.Fatalf("letters %v, want %v", got, want)
	}
	for _, i := range want {
		l, err := d.Letter(i)
		if err != nil {
			d.t.Fatal(err)
		}
		if l.Reason != "the store says no" || l.Attempts != 2 || !l.DiedAt.Equal(time.Unix(9, 9)) || l.Index != i || l.Kind != wal.KindWrite || len(l.Payload) == 0 || len(l.ID) != 3 {
			d.t.Fatalf("letter %+v", l)
		}
	}
	if _, err := d.Letter(1 << 60); !errors.Is(err, ErrNoLetter) {
		d.t.Fatalf("a letter that is none: %v", err)
	}
}

// session returns what is known of session n; its zero value where nothing is.
func (d *desk) session(n byte) Session {
	for _, s := range d.Sessions() {
		if s.ID == id(n) {
			return s
		}
	}
	return Session{}
}
