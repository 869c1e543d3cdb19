package postgres

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// server runs the tests, and then ends the PostgreSQL that they share.
type server struct{ *testing.M }

func (s server) Run() int {
	defer harness.EndPostgres()
	return s.M.Run()
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(server{m}) }
