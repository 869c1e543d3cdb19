package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// episodes returns n records of one session, from an index on.
func episodes(session byte, from uint64, n int) (batch []wal.Record) {
	for i := range uint64(n) {
		batch = append(batch, record(from+i, session, fmt.Sprintf("id-%04d", from+i), "fine"))
	}
	return batch
}

// TestPoisonedRow is 1 in 256 that the server refuses: it is named with the server's words, the others are stored.
func TestPoisonedRow(t *testing.T) {
	for name, poison := range map[string]struct {
		spoil func(d *database, r *wal.Record)
		class store.Class
		says  string
	}{
		"an id PostgreSQL cannot hold": {
			func(_ *database, r *wal.Record) { r.ID = []byte("a\x00b") }, store.ClassPermanent,
			`invalid byte sequence for encoding "UTF8": 0x00 (SQLSTATE 22021)`,
		},
		"an administrator's rule": {
			func(d *database, r *wal.Record) {
				d.do("ALTER TABLE " + memories + " ADD CONSTRAINT polite CHECK (id <> 'rude')")
				r.ID = []byte("rude")
			},
			store.ClassPermanent, `violates check constraint "polite" (SQLSTATE 23514)`,
		},
		"a rule that is checked at the commit": {
			func(d *database, r *wal.Record) {
				d.do(`CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
					IF NEW.id = 'late' THEN RAISE foreign_key_violation USING MESSAGE = 'too late'; END IF; RETURN NEW; END $$`)
				d.do("CREATE CONSTRAINT TRIGGER late AFTER INSERT ON " + memories + " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()")
				r.ID = []byte("late")
			},
			store.ClassPermanent, `too late (SQLSTATE 23503)`,
		},
		"a trigger's exception": {
			func(d *database, r *wal.Record) {
				d.do(`CREATE FUNCTION moody() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
					IF NEW.id = 'sad' THEN RAISE 'not today'; END IF; RETURN NEW; END $$`)
				d.do("CREATE TRIGGER moody BEFORE INSERT ON " + memories + " FOR EACH ROW EXECUTE FUNCTION moody()")
				r.ID = []byte("sad")
			},
			store.ClassTransient, `not today (SQLSTATE P0001)`,
		},
	} {
		for _, at := range []int{0, 101, 255} {
			t.Run(fmt.Sprintf("%s at %d", name, at), func(t *testing.T) {
				d := newDatabase(t, "")
				s := d.open()
				batch := episodes(1, 1, 256)
				for i := range batch {
					batch[i].Session = wal.SessionID{byte(i % 2)}
				}
				poison.spoil(d, &batch[at])
				stored := 0
				for i, err := range s.Put(t.Context(), batch) {
					behind := poison.class == store.ClassTransient && i > at && at%2 == 1 && i%2 == 1
					switch {
					case i == at:
						if store.ClassOf(err) != poison.class || !strings.Contains(fmt.Sprint(err), poison.says) {
							t.Errorf("the poisoned one: %v (%v), expected %v and %q", err, store.ClassOf(err), poison.class, poison.says)
						}
					case behind && !errors.Is(err, store.ErrBehind):
						t.Errorf("%d of the same session: %v, expected it to wait", i, err)
					case !behind && err != nil:
						t.Errorf("%d: %v", i, err)
					case err == nil:
						stored++
					}
				}
				if n := one[int](d, "SELECT count(*) FROM "+memories); n != stored {
					t.Errorf("%d were confirmed, %d are there", stored, n)
				}
			})
		}
	}
}

// TestAllPoisoned is an administrator's rule against everything.
func TestAllPoisoned(t *testing.T) {
	d := newDatabase(t, "")
	s := d.open()
	d.do("ALTER TABLE " + memories + " ADD CONSTRAINT nothing CHECK (false)")
	for i, err := range s.Put(t.Context(), episodes(1, 1, 100)) {
		if store.ClassOf(err) != store.ClassPermanent {
			t.Fatalf("%d: %v, expected a permanent refusal", i, err)
		}
	}
}

// TestSynchronousCommit shows with what setting a batch was committed, on a database that says to do without.
func TestSynchronousCommit(t *testing.T) {
	d := newDatabase(t, "")
	d.do("ALTER DATABASE " + d.name + " SET synchronous_commit TO off")
	d.do("CREATE TABLE seen (setting text)")
	s := d.open()
	d.do(`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$`)
	d.do("CREATE CONSTRAINT TRIGGER note AFTER INSERT ON " + memories + " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note()")
	mustPut(t, s, episodes(1, 1, 3)...)
	if got := one[string](d, "SELECT string_agg(DISTINCT setting, ' ') FROM seen"); got != "on" {
		t.Errorf("committed with synchronous_commit %s", got)
	}
}

// TestTwoJournals lets two sidecars write one id.
func TestTwoJournals(t *testing.T) {
	d := newDatabase(t, "")
	journals := map[byte]*Store{}
	for _, j := range []byte{'a', 'b'} {
		journals[j] = d.open(func(c *Config) { c.Journal = [16]byte{j} })
	}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	put := func(t *testing.T, journal byte, version uint64, second int) {
		t.Helper()
		r := record(version, 0, t.Name(), fmt.Sprintf("%c%d", journal, version))
		r.Time = start.Add(time.Duration(second) * time.Second).UnixNano()
		mustPut(t, journals[journal], r)
	}
	for _, row := range []struct {
		name  string
		steps string // journal, version and second of acceptance each
		want  string
	}{
		{"the later acceptance wins", "a5@1 b1@2", "b1"},
		{"whatever order they come in", "b1@2 a5@1", "b1"},
		{"a redelivery changes nothing", "a5@1 b1@2 a5@1", "b1"},
		{"nor does one of all", "a5@1 b1@2 a6@3 b1@2 a5@1 a6@3", "a6"},
		{"within a journal the version counts", "a6@1 a5@1", "a6"},
		{"even if its clock was set back", "a5@9 a6@8", "a6"},
		{"and others compare with its latest time", "a5@10 a6@8 b1@9 a5@10", "a6"},
		{"at the same moment always the same wins", "a5@1 b1@1 a5@1", "b1"},
		{"whichever came first", "b1@1 a5@1", "b1"},
		{"after a restore versions are used again", "a90@1 a80@2", "a80"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for step := range strings.FieldsSeq(row.steps) {
				var journal byte
				var version uint64
				var second int
				if _, err := fmt.Sscanf(step, "%c%d@%d", &journal, &version, &second); err != nil {
					t.Fatal(err)
				}
				put(t, journal, version, second)
			}
			if got := one[string](d, "SELECT content FROM "+memories+" WHERE id = $1", t.Name()); got != row.want {
				t.Errorf("%s: %s stayed, expected %s", row.steps, got, row.want)
			}
		})
	}
	q := store.Query{Space: "garden", Vector: make([]float32, store.Dimensions), K: 100}
	for _, h := range recall(t, journals['a'], q) {
		if owner := one[string](d, "SELECT content FROM "+memories+" WHERE id = $1", h.ID); (owner[0] == 'a') != (h.Version > 0) {
			t.Errorf("%s has version %d at journal a", owner, h.Version)
		}
	}
}

func TestJudge(t *testing.T) {
	for state, want := range map[string]verdict{
		"22021": {class: store.ClassPermanent, ofRow: true},
		"23505": {class: store.ClassPermanent, ofRow: true},
		"54000": {class: store.ClassPermanent, ofRow: true},
		"23514": {class: store.ClassTransient, ofRow: true}, // without a constraint's name
		"P0001": {class: store.ClassTransient, ofRow: true},
		"XX000": {class: store.ClassTransient, ofRow: true},
		"40P01": {class: store.ClassUnavailable, again: true},
		"40001": {class: store.ClassUnavailable, again: true},
		"53100": {class: store.ClassUnavailable}, // disk full
		"53300": {class: store.ClassUnavailable}, // too many connections
		"57P01": {class: store.ClassUnavailable}, // shutdown
		"57014": {class: store.ClassUnavailable}, // statement_timeout
		"25006": {class: store.ClassUnavailable}, // a standby
		"08P01": {class: store.ClassUnavailable}, // a pooler's complaint
		"58030": {class: store.ClassUnavailable}, // I/O error
		"55P03": {class: store.ClassUnavailable}, // lock_timeout
		"28P01": {class: store.ClassDenied},      // password
		"42501": {class: store.ClassDenied},      // rights
		"42P01": {class: store.ClassDenied},      // undefined table
		"3D000": {class: store.ClassDenied},      // no such database
		"0A000": {class: store.ClassDenied},
		"":      {class: store.ClassTransient, ofRow: true},
	} {
		if got := judge(fmt.Errorf("put: %w", &pgconn.PgError{Code: state})); got != want {
			t.Errorf("%s means %+v, expected %+v", state, got, want)
		}
	}
	if got := judge(&pgconn.PgError{Code: "23514", ConstraintName: "polite"}); got.class != store.ClassPermanent {
		t.Errorf("a named constraint means %+v", got)
	}
	if got := judge(context.DeadlineExceeded); got.class != store.ClassUnavailable || got.ofRow {
		t.Errorf("no answer means %+v", got)
	}
}

// TestServerAsItIs provokes what a table test only claims.
func TestServerAsItIs(t *testing.T) {
	for name, row := range map[string]struct {
		harm  func(d *database)
		class store.Class
		says  string
		heal  string
	}{
		"no right to insert":  {func(d *database) { d.do("REVOKE INSERT ON " + memories + " FROM sidecar") }, store.ClassDenied, "permission denied", "GRANT ALL ON " + memories + " TO sidecar"},
		"the table is gone":   {func(d *database) { d.do("ALTER TABLE " + memories + " RENAME TO elsewhere") }, store.ClassDenied, "does not exist", "ALTER TABLE " + schemaName + ".elsewhere RENAME TO memories"},
		"a read-only server":  {func(d *database) { d.do("ALTER ROLE sidecar SET default_transaction_read_only TO on") }, store.ClassUnavailable, "read-only", "ALTER ROLE sidecar RESET default_transaction_read_only"},
		"statements too slow": {slow, store.ClassUnavailable, "statement timeout", "ALTER ROLE sidecar RESET statement_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t, "")
			d.do("DROP ROLE IF EXISTS sidecar")
			d.do("CREATE ROLE sidecar LOGIN")
			t.Cleanup(func() { d.do("DROP OWNED BY sidecar"); d.do("DROP ROLE sidecar") })
			mustPut(t, d.open(), record(1, 0, "before", "fine"))
			d.do("GRANT USAGE ON SCHEMA " + schemaName + " TO sidecar")
			d.do("GRANT ALL ON ALL TABLES IN SCHEMA " + schemaName + " TO sidecar")
			row.harm(d)
			s := d.open(func(c *Config) { c.URL = strings.Replace(c.URL, "postgres@", "sidecar@", 1) })
			batch := episodes(1, 2, 3)
			for i, err := range s.Put(t.Context(), batch) {
				if store.ClassOf(err) != row.class || !strings.Contains(fmt.Sprint(err), row.says) {
					t.Errorf("%d: %v (%v), expected %v and %q", i, err, store.ClassOf(err), row.class, row.says)
				}
			}
			d.do(row.heal)
			s.pool.Reset() // a role's settings are read when a connection begins
			mustPut(t, s, batch...)
		})
	}
}

// slow makes an insert take longer than the role may take.
func slow(d *database) {
	d.do(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF current_setting('statement_timeout') <> '0' THEN PERFORM pg_sleep(600); END IF; RETURN NEW; END $$`)
	d.do("CREATE TRIGGER slow BEFORE INSERT ON " + memories + " FOR EACH ROW EXECUTE FUNCTION slow()")
	d.do("ALTER ROLE sidecar SET statement_timeout TO '500ms'")
}

// TestConflictIsTriedAgain makes the server end the transaction for a deadlock, once.
func TestConflictIsTriedAgain(t *testing.T) {
	d := newDatabase(t, "")
	s := d.open()
	d.do("CREATE SEQUENCE tries")
	d.do(`CREATE FUNCTION dead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF nextval('public.tries') <= 2 THEN RAISE deadlock_detected; END IF; RETURN NEW; END $$`)
	d.do("CREATE TRIGGER dead BEFORE INSERT ON " + memories + " FOR EACH ROW EXECUTE FUNCTION dead()")
	mustPut(t, s, episodes(1, 1, 3)...)
	d.do("ALTER SEQUENCE tries MINVALUE -1000 RESTART WITH -1000")
	for _, err := range s.Put(t.Context(), episodes(1, 4, 3)) {
		if !errors.Is(err, errTooOften) || store.ClassOf(err) != store.ClassUnavailable {
			t.Errorf("%v (%v), expected %v", err, store.ClassOf(err), errTooOften)
		}
	}
}

// TestVersionsOfAnotherJournal: what another sidecar has stored compares with nothing that is pending here.
func TestVersionsOfAnotherJournal(t *testing.T) {
	d := newDatabase(t, "")
	ours := d.open()
	theirs := d.open(func(c *Config) { c.Journal = [16]byte{0xbb, 2} })
	mustPut(t, ours, record(7, 1, "ours", "fine"), record(8, 1, "both", "fine"))
	later := record(900, 1, "both", "fine")
	later.Time = time.Now().Add(time.Hour).UnixNano()
	mustPut(t, theirs, record(901, 1, "theirs", "fine"), later)
	for s, want := range map[*Store][]uint64{ours: {7, 0, 0}, theirs: {0, 900, 901}} {
		got, err := s.Versions(t.Context(), "garden", []string{"ours", "both", "theirs"})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v; expected %v", got, err, want)
		}
	}
}
