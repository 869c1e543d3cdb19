package abuse

import (
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
