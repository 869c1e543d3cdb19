package harness

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Postgres is a PostgreSQL 17 with pgvector on a cluster of its own, which .ci/postgres serves as long as this process lives:
// it ends with the pipe to it, however this process ends. One goroutine uses it at a time, but for its address.
type Postgres struct {
	Address string // host:port
	Dir     string // of the cluster, on this machine's file system

	serve  *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
	stderr bytes.Buffer
}

// shared is the server that the tests of one binary have in common.
var shared struct {
	sync.Mutex
	server *Postgres
	err    error
}

// SharedPostgres returns the server that all tests of this binary share, each with databases of its own; it is started when
// first asked for. TestMain has to call EndPostgres.
func SharedPostgres(t testing.TB) *Postgres {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		// Nothing here cuts the power, so that nothing need wait for the disk.
		shared.server, shared.err = servePostgres(FreeAddress(t), "fsync=off")
	}
	demandPostgres(t, shared.err)
	return shared.server
}

// EndPostgres stops what SharedPostgres started.
func EndPostgres() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.end()
		shared.server = nil
	}
}

// NewPostgres returns a server for one test to mistreat, with settings such as ssl=on.
func NewPostgres(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	p, err := servePostgres(FreeAddress(t), settings...)
	demandPostgres(t, err)
	t.Cleanup(p.end)
	return p
}

// demandPostgres skips a test where there can be no PostgreSQL, and fails it where there must be.
func demandPostgres(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("REQUIRE_TOOLS") == "1":
		t.Fatalf("PostgreSQL is required: %v", err)
	default:
		t.Skipf("needs PostgreSQL 17 with pgvector (REQUIRE_TOOLS=1 makes this a failure): %v", err)
	}
}

func servePostgres(address string, settings ...string) (*Postgres, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(here) {
		return nil, errors.New("where this package lies is not known: it was built with -trimpath")
	}
	_, port, _ := strings.Cut(address, ":")
	p := &Postgres{Address: address, serve: exec.Command("bash", append([]string{".ci/postgres", "serve", port}, settings...)...)}
	p.serve.Dir = filepath.Join(filepath.Dir(here), "../..")
	p.serve.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for the tests; it ends when they do
	p.serve.Stderr = &p.stderr
	input, err := p.serve.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := p.serve.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.input, p.output = input, bufio.NewReader(output)
	if err := p.serve.Start(); err != nil {
		return nil, err
	}
	line, err := p.output.ReadString('\n')
	if dir, ok := strings.CutPrefix(line, "ok "); ok && err == nil {
		p.Dir = strings.TrimSpace(dir)
		return p, nil
	}
	p.end()
	return nil, fmt.Errorf(".ci/postgres could not serve one: %w\n%s", errors.Join(err, errors.New(strings.TrimSpace(line))), &p.stderr)
}

// end stops the server and waits for all of it to be gone.
func (p *Postgres) end() {
	_ = p.input.Close()
	_ = p.serve.Wait() // its exit code says nothing: the cluster is deleted in any case
}

// URL is how a client reaches a database, as the superuser, without TLS.
func (p *Postgres) URL(database string) string {
	return "postgres://postgres@" + p.Address + "/" + database + "?sslmode=disable"
}

// Stop ends the server as pg_ctl stop does: fast, or immediate, which is a crash.
func (p *Postgres) Stop(t testing.TB, mode string) { t.Helper(); p.order(t, "stop "+mode) }

// Start starts it again on the same address.
func (p *Postgres) Start(t testing.TB) { t.Helper(); p.order(t, "start") }

// Pooler starts pgbouncer in transaction mode in front of it, with a single connection to the server, and returns its address.
func (p *Postgres) Pooler(t testing.TB) string {
	t.Helper()
	address := FreeAddress(t)
	_, port, _ := strings.Cut(address, ":")
	p.order(t, "pooler "+port)
	return address
}

func (p *Postgres) order(t testing.TB, command string) {
	t.Helper()
	_, err := io.WriteString(p.input, command+"\n")
	if err != nil {
		t.Fatalf("PostgreSQL: %s: %v", command, err)
	}
	if line, err := p.output.ReadString('\n'); err != nil || line != "ok\n" {
		t.Fatalf("PostgreSQL: %s: %q, %v\n%s", command, line, err, p.Log())
	}
}

// Log is what the server has logged so far.
func (p *Postgres) Log() string {
	b, err := os.ReadFile(filepath.Join(p.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}
