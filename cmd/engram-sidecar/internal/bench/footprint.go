package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Footprint is what a sidecar takes that nobody puts a load on, and how long it takes to start.
type Footprint struct {
	Idle     uint64  `json:"idle_rss"`      // bytes, nobody connected
	Sessions int     `json:"sessions"`      // that were open
	Session  uint64  `json:"session_rss"`   // bytes that each of them took, its stream and connection included
	Backlog  uint64  `json:"backlog"`       // observations that wait
	Waiting  uint64  `json:"backlog_rss"`   // bytes after a start with the backlog
	Size     uint64  `json:"backlog_bytes"` // bytes of journal
	Start    float64 `json:"start_seconds"` // of a start with it, until it serves
	Read     float64 `json:"read_seconds"`  // of reading the same files once, as cat would
}

// measureFootprint measures it. What was just written is in the page cache: neither the start nor the reading waits for the
// disk.
func measureFootprint(ctx context.Context, base string, sessions int, backlog uint64) (*Footprint, error) {
	dir, err := os.MkdirTemp(base, "engram-sidecar-bench-")
	if err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left has a telling name
	f := &Footprint{Sessions: sessions, Backlog: backlog}
	if err := f.running(ctx, dir); err != nil {
		return nil, fmt.Errorf("measure the footprint: %w", err)
	}
	if err := f.starting(ctx, dir); err != nil {
		return nil, fmt.Errorf("measure a start: %w", err)
	}
	return f, nil
}

// running measures memory, and leaves a backlog in dir.
func (f *Footprint) running(ctx context.Context, dir string) error {
	quota, err := quotaIn(dir)
	if err != nil {
		return err
	}
	c, address, _, err := startSidecar(ctx, dir, Sidecar.store(""), quota)
	if err != nil {
		return err
	}
	defer c.stop()
	wait(ctx, time.Second) // until it has settled
	if f.Idle, _, err = c.memory(); err != nil {
		return err
	}
	load := DefaultLoad()
	load.Streams, load.Window, load.Rate, load.Warmup, load.Duration = f.Sessions, 1, 100, time.Second, time.Second
	open, err := f.withSessions(ctx, c, address, load)
	if err != nil {
		return err
	}
	f.Session = (max(open, f.Idle) - f.Idle) / uint64(max(f.Sessions, 1))
	like := DefaultLoad()
	return fillUp(ctx, address, f.Backlog, &like)
}

// withSessions is what the sidecar has in memory while a client holds its sessions open.
func (f *Footprint) withSessions(ctx context.Context, c *process, address string, load Load) (rss uint64, err error) {
	client, err := startPart(ctx, part{Role: roleDrive, Address: address, Protocol: ProtocolObserve, Load: load})
	if err != nil {
		return 0, err
	}
	defer client.stop()
	for {
		e, err := client.next(ctx)
		if err != nil {
			return 0, err
		}
		if e.Acked > 0 {
			if rss, _, err = c.memory(); err != nil {
				return 0, err
			}
		}
		if e.Result != nil {
			return rss, nil
		}
	}
}

// starting starts a sidecar on what the one before has left in dir.
func (f *Footprint) starting(ctx context.Context, dir string) error {
	began := time.Now()
	size, err := readAll(filepath.Join(dir, "journal"))
	if err != nil {
		return err
	}
	f.Read, f.Size = time.Since(began).Seconds(), size
	quota, err := quotaIn(dir)
	if err != nil {
		return err
	}
	began = time.Now()
	c, _, admin, err := startSidecar(ctx, dir, Sidecar.store(""), quota)
	if err != nil {
		return err
	}
	defer c.stop()
	f.Start = time.Since(began).Seconds()
	s, err := statusOf(ctx, admin)
	if err != nil {
		return err
	}
	if s.Balance.Pending < f.Backlog {
		return fmt.Errorf("%d observations wait after the start: expected %d", s.Balance.Pending, f.Backlog)
	}
	wait(ctx, time.Second)
	f.Waiting, _, err = c.memory()
	return err
}

// readAll reads every file below a directory once, and returns how much that was.
func readAll(dir string) (size uint64, err error) {
	buf := make([]byte, 1<<20)
	err = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		file, err := os.Open(path) //nolint:gosec // nobody else writes there
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // only read from
		for {
			n, err := file.Read(buf)
			size += uint64(n) //nolint:gosec // not negative
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	return size, err
}
