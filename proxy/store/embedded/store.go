package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// ErrClosed is the answer to a call that comes after Close.
var ErrClosed = errors.New("embedded store: closed")

// Store keeps memories in a directory of this machine. Its methods may be called from any goroutine.
type Store struct {
	dir    string
	cfg    Config
	disk   *disk
	layout layout
	log    hclog.Logger
	lock   *wal.Lock

	// turn holds one token. Who has taken it is the writer, and owns what follows; the others below may be read by the
	// writer without mu, since only the writer changes them.
	turn   chan struct{}
	index  *index
	table  table
	batch  batch
	torn   []*segment // may hold more than their committed rows, after a write for which there was no room
	warned int        // tenths of its size at which the store has last said that it nears it
	failed error      // set for good by an error after which nobody knows what is on disk

	mu        sync.RWMutex // held for moments only; see view
	committed uint32       // rows
	segments  []*segment
	spaces    map[string]*space
	numbered  []*space // by number
	live      int      // rows that are neither replaced nor damaged
	damages   damages

	passes    passes
	sketching sketching

	// users is held for reading by every call, for writing by Close, which so waits for them before it unmaps anything.
	users  sync.RWMutex
	closed bool
}

// Capabilities says what the store can do.
func (s *Store) Capabilities() store.Capabilities {
	return store.Capabilities{
		Name: "embedded", Cues: []store.Cue{store.CueEmbedding, store.CueSemantic, store.CueContext},
		CommitTimes: true, TextAsVector: true, Versions: true,
		BatchItems: 1024, BatchBytes: 8 << 20, Parallel: 1,
	}
}

// Count returns how many memories a space holds, without those that are damaged; 0 for a space nobody wrote to.
func (s *Store) Count(name string) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if sp := s.spaces[name]; sp != nil {
		return sp.live
	}
	return 0
}

// Spaces returns the names of all spaces that hold memories, sorted.
func (s *Store) Spaces() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.spaces))
	for name, sp := range s.spaces {
		if sp.live > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Stats are sizes for an operator.
type Stats struct {
	Rows     int   // memories ever stored, replaced ones too: their place is not used again
	Live     int   // memories a recall can find
	Damaged  int   // rows found not to be what was written, since the start
	Segments int   // pairs of files
	Bytes    int64 // of all files, as far as they are in use
	Limit    int   // rows it takes, or is meant for where nothing limits it
	Near     bool  // at least 80 % of that are stored
}

// Stats returns the store's sizes. It asks the disk for the sizes of index and sketches.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := Stats{Rows: int(s.committed), Live: s.live, Damaged: s.damages.count, Segments: len(s.segments), Limit: s.limit()}
	st.Near = int64(st.Rows)*100 >= int64(st.Limit)*nearPercent
	for i := range s.segments {
		if last := int(s.committed) - int(s.layout.first(i)); last > 0 {
			last = min(last, int(s.layout.rows))
			st.Bytes += s.layout.vectorAt(last) + int64(s.segments[i].rows[last-1].end()) + s.sketchBytesOnDisk(i) //nolint:gosec // sizes of files
		}
	}
	if info, err := os.Stat(filepath.Join(s.dir, indexName)); err == nil {
		st.Bytes += info.Size()
	}
	return st
}

// Close waits for the calls that run, and ends the use of the directory. Nothing needs to be written: what Put confirmed
// is on disk. Calls that come later get ErrClosed, a second Close nil.
func (s *Store) Close() error {
	s.users.Lock()
	defer s.users.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if err := s.release(); err != nil {
		return fmt.Errorf("close the embedded store: %w", err)
	}
	return nil
}

// release gives everything back that a store, or half an opened one, holds.
func (s *Store) release() error {
	var errs []error
	if s.index != nil {
		errs = append(errs, s.index.close())
	}
	errs = append(errs, s.dropSegments())
	if s.lock != nil {
		errs = append(errs, s.lock.Release())
	}
	return errors.Join(errs...)
}

func (s *Store) dropSegments() error {
	var errs []error
	for _, seg := range s.segments {
		errs = append(errs, seg.close())
	}
	s.mu.Lock() // a reading of the sizes may be under way: it uses nothing that is closed here
	s.segments = nil
	s.mu.Unlock()
	return errors.Join(errs...)
}

// enter begins a call; leave ends it.
func (s *Store) enter() error {
	s.users.RLock()
	if s.closed {
		s.users.RUnlock()
		return ErrClosed
	}
	return nil
}

func (s *Store) leave() { s.users.RUnlock() }

// takeTurn makes the caller the writer, unless ctx ends first.
func (s *Store) takeTurn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) giveTurn() { s.turn <- struct{}{} }

// rowAt returns what is kept of a row that exists.
func (s *Store) rowAt(number uint32) *row {
	return &s.segments[s.layout.segmentOf(number)].rows[s.layout.placeOf(number)]
}

func (s *Store) hashAt(number uint32) uint64 { return s.rowAt(number).hash }
