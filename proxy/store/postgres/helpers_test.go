package postgres

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// ourJournal is the identity of the journal that tests store from, unless they say another.
var ourJournal = [16]byte{0xaa, 1}

// patience is how long a test waits for what must happen.
const patience = harness.Patience

var databases atomic.Int64

// database is one of the test's own, which goes with it.
type database struct {
	t    testing.TB
	name string
	url  string
	conn *pgx.Conn
	wire *harness.Wire // between it and a store that is put to the test
}

// newDatabase makes an empty database in the server that the tests share; options come behind CREATE DATABASE.
func newDatabase(t testing.TB, options string) *database {
	t.Helper()
	return databaseIn(t, harness.SharedPostgres(t), options)
}

func databaseIn(t testing.TB, p *harness.Postgres, options string) *database {
	t.Helper()
	d := &database{t: t, name: fmt.Sprintf("test_%d", databases.Add(1))}
	d.url = p.URL(d.name)
	admin := connect(t, p.URL("postgres"))
	do(t, admin, "CREATE DATABASE "+d.name+" "+options)
	t.Cleanup(func() {
		if d.conn != nil {
			_ = d.conn.Close(context.Background())
		}
		do(t, admin, "DROP DATABASE "+d.name+" WITH (FORCE)")
		_ = admin.Close(context.Background())
	})
	return d
}

// connect returns a connection for the test to look and to meddle.
func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return conn
}

func do(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := conn.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// do runs a statement as an administrator would.
func (d *database) do(sql string, args ...any) {
	d.t.Helper()
	if d.conn == nil {
		d.conn = connect(d.t, d.url)
	}
	do(d.t, d.conn, sql, args...)
}

// one reads one value.
func one[T any](d *database, sql string, args ...any) (value T) {
	d.t.Helper()
	if d.conn == nil {
		d.conn = connect(d.t, d.url)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.conn.QueryRow(ctx, sql, args...).Scan(&value); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// open returns a store on the database; change may alter its configuration.
func (d *database) open(change ...func(*Config)) *Store {
	d.t.Helper()
	cfg := Config{URL: d.url, Journal: ourJournal, Patience: patience}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = s.Close() })
	return s
}

// through returns the URL of the database behind another address.
func (d *database) through(address string) string {
	u, err := url.Parse(d.url)
	if err != nil {
		d.t.Fatal(err)
	}
	u.Host = address
	return u.String()
}

// contents reads what a space holds, past the store.
func (d *database) contents(t *testing.T, space string) (items []storetest.Item) {
	t.Helper()
	if d.conn == nil {
		d.conn = connect(d.t, d.url)
	}
	rows, err := d.conn.Query(t.Context(), "SELECT id, content, version FROM "+memories+" WHERE space = $1", space)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var it storetest.Item
		if err := rows.Scan(&it.ID, &it.Text, &it.Version); err != nil {
			t.Fatal(err)
		}
		items = append(items, it)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return items
}

// target is the database for the conformance suite.
func (d *database) target(change ...func(*Config)) storetest.Target {
	if d.wire == nil {
		u, err := url.Parse(d.url)
		if err != nil {
			d.t.Fatal(err)
		}
		d.wire = harness.NewWire(d.t, u.Host)
	}
	s := d.open(append(change, func(c *Config) {
		if c.URL == d.url {
			c.URL = d.through(d.wire.Address)
		}
	})...)
	return storetest.Target{
		Store: s, Contents: d.contents, Exact: true,
		Reopen: func(*testing.T) storetest.Target { _ = s.Close(); return d.target(change...) },
		Break: func(*testing.T) func() {
			d.wire.SetDown(true)
			return func() { d.wire.SetDown(false) }
		},
		LoseAnswer: func(*testing.T) {
			d.wire.Cut(func(int) bool { d.wire.Cut(nil); return true })
		},
	}
}

// record is an episode of a session.
func record(index uint64, session byte, id, text string) wal.Record {
	r := storetest.Record(wal.FormEpisode, index, "garden", id, text, storetest.Vector(index))
	r.Session = wal.SessionID{session}
	r.Sequence = index
	return r
}

func mustPut(t testing.TB, s *Store, batch ...wal.Record) {
	t.Helper()
	for i, err := range s.Put(context.Background(), batch) {
		if err != nil {
			t.Fatalf("%s: %v", batch[i].ID, err)
		}
	}
}

func recall(t testing.TB, s *Store, q store.Query) []store.Hit {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := s.Recall(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	return a.Hits
}
