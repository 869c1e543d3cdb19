package embedded

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a configuration whose segments are soon full.
func small() Config { return Config{SegmentRows: 16} }

func open(t *testing.T, dir string, cfg Config) *Store {
	t.Helper()
	s, err := Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// holds returns all a space holds, through Recall.
func holds(t *testing.T, s *Store, space string) []storetest.Item {
	t.Helper()
	answer, err := s.Recall(context.Background(), store.Query{
		Space: space, Vector: storetest.Vector(1), K: s.Count(space) + 100, Threshold: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	var items []storetest.Item
	for _, h := range answer.Hits {
		items = append(items, storetest.Item{ID: h.ID, Text: textOf(t, h.Form, h.Body), Version: h.Version})
	}
	return items
}

func textOf(t *testing.T, form wal.Form, body []byte) string {
	t.Helper()
	var err error
	var text []byte
	switch form {
	case wal.FormEpisode:
		var e envelope.Episode
		err = envelope.ScanEpisode(body, &e)
		text = e.What
	case wal.FormRemember:
		var e envelope.Remember
		err = envelope.ScanRemember(body, &e)
		text = e.Text
	default:
		var e envelope.Experience
		err = envelope.ScanExperience(body, &e)
		text = e.Text
	}
	if err != nil {
		t.Fatalf("the body of a hit: %v", err)
	}
	return string(text)
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Target { return target(t, quickDir(t)) })
}

func target(t *testing.T, dir string) storetest.Target {
	cfg := small()
	cfg.disk = osDisk()
	s, err := Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return storetest.Target{
		Break: func(*testing.T) func() {
			write := cfg.disk.write
			cfg.disk.write = func(*os.File, []byte, int64) error { return written(unix.ENOSPC) }
			return func() { cfg.disk.write = write }
		},
		LoseAnswer: func(*testing.T) { cfg.disk.commit = func() error { return unix.EIO } },
		Store:      s, Exact: true,
		Contents: func(t *testing.T, space string) []storetest.Item { return holds(t, s, space) },
		Reopen: func(t *testing.T) storetest.Target {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return target(t, dir)
		},
	}
}
