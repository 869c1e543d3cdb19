package postgres

import (
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Target { return newDatabase(t, "").target() })
}
