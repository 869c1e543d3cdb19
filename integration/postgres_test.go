package integration

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// pgRun is a sidecar before a real PostgreSQL, clients in front of it, and the oracle.
type pgRun struct {
	t       *testing.T
	oracle  *harness.Oracle
	server  *harness.Postgres
	sidecar *harness.Sidecar
	clients []*harness.Client
}

// newPostgresRun begins one whose sidecar reaches the server over a wire, or directly where wired is false.
func newPostgresRun(t *testing.T, wired bool) (*pgRun, *harness.Wire) {
	t.Helper()
	r := &pgRun{t: t, oracle: harness.NewOracle(), server: harness.NewPostgres(t)}
	store := r.server.URL("postgres")
	var wire *harness.Wire
	if wired {
		wire = harness.NewWire(t, r.server.Address)
		store = strings.Replace(store, r.server.Address, wire.Address, 1)
	}
	r.sidecar = harness.NewSidecar(t, harness.Binary(t), "--store", store)
	r.sidecar.Start()
	for n := range 3 {
		r.clients = append(r.clients, &harness.Client{
			Name: fmt.Sprintf("client-%d", n), Conn: r.sidecar.Connect(), Oracle: r.oracle, Window: 4, Strict: true,
		})
	}
	return r, wire
}

// during lets the clients observe as long as trouble takes, and then until all is acked.
func (r *pgRun) during(trouble func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancelCause(r.t.Context())
	enough := make(chan struct{})
	var wait sync.WaitGroup
	failed := make([]error, len(r.clients))
	for n, client := range r.clients {
		wait.Go(func() { failed[n] = client.Run(ctx, enough) })
	}
	defer wait.Wait()
	defer cancel(errTestOver)
	trouble()
	close(enough)
	late := time.AfterFunc(harness.Patience, func() { cancel(errNotAcked) })
	defer late.Stop()
	wait.Wait()
	for n, client := range r.clients {
		if failed[n] != nil {
			r.t.Error(failed[n])
		}
		for _, fault := range client.Faults {
			r.t.Error(fault)
		}
	}
}

// judge waits until all is delivered, reads the table past the sidecar, and compares it with what the clients were told.
func (r *pgRun) judge() {
	r.t.Helper()
	b := r.sidecar.Drained()
	r.read()
	verdict := r.oracle.Judge()
	for _, violation := range verdict.Violations[:min(len(verdict.Violations), 10)] {
		r.t.Errorf("%s: %s", violation.Invariant, violation.Text)
	}
	var sent uint64
	for _, client := range r.clients {
		sent += client.Highest
	}
	if want := (harness.Balance{Accepted: sent, Delivered: sent}); b != want || uint64(verdict.Stored) != sent || verdict.Redelivered != 0 {
		r.t.Errorf("%d were observed, the balance is %+v, the table holds %d and %d twice", sent, b, verdict.Stored, verdict.Redelivered)
	}
	r.t.Logf("%d observed, acked and stored once", sent)
}

// read tells the oracle what the table holds, in the order of the journal.
func (r *pgRun) read() {
	r.t.Helper()
	conn := r.connect(r.server.URL("postgres"))
	rows, err := conn.Query(r.t.Context(), `SELECT id, body, body_hole, embedding::real[] FROM engram_sidecar.memories ORDER BY version`)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var body []byte
		var hole int
		var embedding []float32
		if err := rows.Scan(&id, &body, &hole, &embedding); err != nil {
			r.t.Fatal(err)
		}
		message := append([]byte(nil), body[:hole]...)
		for _, f := range embedding {
			message = binary.LittleEndian.AppendUint32(message, math.Float32bits(f))
		}
		var e engramv1.Episode
		if err := proto.Unmarshal(append(message, body[hole:]...), &e); err != nil {
			r.t.Fatalf("%s: %v", id, err)
		}
		of, digest, err := harness.ObservationIn(&e)
		if err != nil {
			r.t.Fatalf("%s: %v", id, err)
		}
		r.oracle.Stored(of, id, digest)
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *pgRun) connect(dsn string) *pgx.Conn {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), dsn)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// TestPostgresKilledAndStopped kills the sidecar with SIGKILL and crashes PostgreSQL with pg_ctl stop -m immediate, in turns
// and at once, while observations come in.
func TestPostgresKilledAndStopped(t *testing.T) {
	r, _ := newPostgresRun(t, false)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	pause := func() { <-time.After(time.Duration(20+random.IntN(300)) * time.Millisecond) }
	r.during(func() {
		for range setting(t, "ENGRAM_POSTGRES_ROUNDS", 4) {
			pause()
			r.server.Stop(t, "immediate")
			pause()
			r.sidecar.Kill()
			r.sidecar.Start() // while the server is down
			r.server.Start(t)
			pause()
			r.sidecar.Kill()
			r.sidecar.Start()
		}
	})
	r.judge()
}

// TestPostgresLosesAnswers has the wire break after one in three commits, before the sidecar hears of it.
func TestPostgresLosesAnswers(t *testing.T) {
	r, wire := newPostgresRun(t, true)
	wire.Cut(func(commits int) bool { return commits%3 == 0 })
	least := setting(t, "ENGRAM_POSTGRES_CUTS", 12)
	r.during(func() {
		r.sidecar.Await("lost answers", func() (bool, error) { return wire.Cuts() >= least, nil })
		wire.Cut(nil)
	})
	r.judge()
	t.Logf("%d commits were never heard of", wire.Cuts())
}

// TestPostgresNewerSchema ends at once, with a line that says what to do, and touches nothing.
func TestPostgresNewerSchema(t *testing.T) {
	r, _ := newPostgresRun(t, false)
	r.sidecar.Kill()
	conn := r.connect(r.server.URL("postgres"))
	for _, statement := range []string{"INSERT INTO engram_sidecar.schema_versions (version) VALUES (1000)", "DROP TABLE engram_sidecar.memories"} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if r.sidecar.TryStart() {
		t.Fatal("it serves")
	}
	if code := r.sidecar.ExitCode(); code != 78 {
		t.Errorf("it ended with code %d, expected 78", code)
	}
	if log := r.sidecar.Log.String(); !strings.Contains(log, "has version 1000, this build knows up to 1; run a build at least as new") {
		t.Error("the log does not say why")
	}
	var there bool
	if err := conn.QueryRow(t.Context(), "SELECT to_regclass('engram_sidecar.memories') IS NOT NULL").Scan(&there); err != nil || there {
		t.Errorf("the table was made anew (%v)", err)
	}
}

// TestPostgresPasswordIsNotShown looks for the password in all that the sidecar says of itself, when it is right and when it
// is wrong.
func TestPostgresPasswordIsNotShown(t *testing.T) {
	r, _ := newPostgresRun(t, false)
	r.sidecar.Kill()
	const right, wrong = "hush-Hush-1", "shout%Out-2"
	conn := r.connect(r.server.URL("postgres"))
	if _, err := conn.Exec(t.Context(), "CREATE ROLE secretive LOGIN SUPERUSER PASSWORD '"+right+"'"); err != nil {
		t.Fatal(err)
	}
	hba := filepath.Join(r.server.Dir, "pg_hba.conf")
	if err := os.WriteFile(hba, []byte("host all secretive 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{right, wrong} {
		u := url.URL{Scheme: "postgres", User: url.UserPassword("secretive", password), Host: r.server.Address, Path: "/postgres"}
		s := harness.NewSidecar(t, harness.Binary(t), "--store", u.String()+"?sslmode=disable&connect_timeout=7", "--log-level", "trace")
		s.Start()
		client := &harness.Client{Name: "secret-" + password[:5], Conn: s.Connect(), Oracle: r.oracle, Window: 8, Strict: true}
		enough := make(chan struct{})
		close(enough)
		if err := client.Run(t.Context(), enough); err != nil {
			t.Fatal(err)
		}
		k := newTalk(t, s.Connect())
		k.init("")
		k.send(observe(1, harness.EpisodeOf(harness.Observation{Session: "s", Sequence: 1})))
		k.acked(1)
		var said strings.Builder
		s.Await("what it says of the store", func() (bool, error) {
			said.Reset()
			for _, path := range []string{"/api/status", "/metrics", "/readyz", "/livez"} {
				answer, err := s.Get(path)
				if err != nil {
					return false, err
				}
				said.Write(answer.Text)
			}
			b, err := s.Balance()
			return err == nil && (password == right && b.Delivered == 1 || strings.Contains(said.String(), "28P01")), err
		})
		s.Kill()
		text := said.String() + s.Log.String()
		for _, secret := range []string{password, url.QueryEscape(password), "secretive:", "connect_timeout"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is shown, %d characters into what it says", secret, strings.Index(text, secret))
			}
		}
		if !strings.Contains(text, r.server.Address+"/postgres") {
			t.Error("it does not say where the store is")
		}
	}
}
