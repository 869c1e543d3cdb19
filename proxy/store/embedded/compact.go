package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Compacted says what a compaction did.
type Compacted struct {
	Memories      int   // in the store, before and after
	GivenUp       int   // rows that are gone: superseded versions, and what is damaged where that was asked for
	Before, After int64 // bytes of all files
}

// CompactOptions are for Compact.
type CompactOptions struct {
	// DropDamaged lets memories go that cannot be read. Without it, one of them ends the compaction before anything changed.
	DropDamaged bool
}

// ErrDamaged means that a compaction would lose memories that are damaged.
var ErrDamaged = errors.New("damaged memories")

// compactSuffix names the directory beside the store's in which a compaction works.
const compactSuffix = ".compact"

// Compact gives back the place of versions that were superseded. It writes the memories that count, in their order and with
// their versions and times, to a second store beside the one in dir, makes that durable, and exchanges the two names in one
// step; then it removes the old one. A crash leaves the old store or the new one in dir, both of them whole; what is left
// beside it is removed by the next Open. So for a while there must be room for both.
//
// Nobody may have the store open: the error wraps wal.ErrLocked then. It wraps fs.ErrNotExist where there is no store, and
// ErrDamaged as CompactOptions say.
func Compact(ctx context.Context, dir string, cfg Config, o CompactOptions) (Compacted, error) {
	done, err := compact(ctx, dir, cfg, o)
	if err != nil {
		return done, fmt.Errorf("compact the embedded store in %s: %w", dir, err)
	}
	return done, nil
}

func compact(ctx context.Context, dir string, cfg Config, o CompactOptions) (done Compacted, err error) {
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return done, err
	}
	if _, err := os.Stat(filepath.Join(dir, formatName)); err != nil {
		return done, err
	}
	old, err := Open(dir, cfg) // which removes what an earlier compaction has left
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	st := old.Stats()
	done = Compacted{Memories: st.Live, GivenUp: st.Rows - st.Live, Before: st.Bytes, After: st.Bytes}
	if done.GivenUp == 0 {
		return done, nil
	}
	if err := old.roomFor(dir); err != nil {
		return done, err
	}
	beside := dir + compactSuffix
	cfg.SegmentRows = int(old.layout.rows)
	fresh, err := Open(beside, cfg)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, fresh.Close()) }()
	lost, err := fresh.copyFrom(ctx, old, o.DropDamaged)
	if err == nil {
		err = old.exchange(beside, dir)
	}
	if err != nil {
		return done, errors.Join(err, old.disk.removeAll(beside)) // where that fails the next Open does it
	}
	done.Memories -= lost
	done.GivenUp += lost
	done.After = fresh.Stats().Bytes
	if err := errors.Join(old.disk.removeAll(beside), old.disk.syncDir(filepath.Dir(dir))); err != nil {
		return done, fmt.Errorf("the store is compact, but the old one is still there: remove %s: %w", beside, err)
	}
	return done, nil
}

// roomFor refuses to begin where there is no room for a second store.
func (s *Store) roomFor(dir string) error {
	var free unix.Statfs_t
	if err := unix.Statfs(dir, &free); err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	var need uint64
	for number := range s.committed {
		if r := s.rowAt(number); s.counts(number) {
			need += vectorBytes + uint64(r.length) + 2*rowBytes
		}
	}
	if have := free.Bavail * uint64(free.Bsize); have < need { //nolint:gosec // a block has a size
		return fmt.Errorf("%w: the memories take %d bytes, and for a while there must be room for them twice; %d are free: "+
			"free %d more, nothing was changed", errFull, need, have, need-have)
	}
	return nil
}

// counts says that a row is the newest version of a memory.
func (s *Store) counts(number uint32) bool { return s.rowAt(number).flags == 0 && !s.isDead(number) }

// exchange makes each of two directories bear the other's name, for good. The first is durable already.
func (s *Store) exchange(fresh, dir string) error {
	err := errors.Join(s.disk.syncDir(fresh), s.disk.exchange(fresh, dir))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("this file system cannot exchange two directories in one step; copy the data directory to one that can "+
			"(ext4, XFS, Btrfs), compact it there and copy it back: %w", err)
	}
	if err != nil {
		return fmt.Errorf("put the new store in its place: %w", err)
	}
	if err := s.disk.syncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("sync the directory of the new store: %w", err)
	}
	return nil
}

// removeLeft removes what a compaction that was cut short has left beside the store.
func (s *Store) removeLeft() error {
	beside := s.dir + compactSuffix
	if _, err := os.Lstat(beside); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s.log.Info("what a compaction left is removed", "dir", beside)
	if err := s.disk.removeAll(beside); err != nil {
		return fmt.Errorf("remove what a compaction left: %w", err)
	}
	return nil
}

// copyFrom fills an empty store with what counts of another, and makes it durable. It returns how many memories were lost
// because they cannot be read.
func (s *Store) copyFrom(ctx context.Context, old *Store, drop bool) (lost int, err error) {
	c := copying{to: s}
	for number := range old.committed {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if !old.counts(number) {
			if old.rowAt(number).flags&flagUnreadable != 0 {
				lost++
			}
			continue
		}
		seg, place := old.segments[old.layout.segmentOf(number)], old.layout.placeOf(number)
		b, vector, err := old.readRow(seg, place)
		if err != nil {
			old.markDamaged(seg, place, err)
			lost++
			continue
		}
		if err := c.add(&b, vector); err != nil {
			return 0, err
		}
	}
	if lost > 0 && !drop {
		return 0, fmt.Errorf("%w: %d cannot be read and would be lost for good; nothing was changed: store them again first, restore a "+
			"backup, or let them go with --drop-damaged", ErrDamaged, lost)
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	if err := s.syncAll(s.segments); err != nil {
		return 0, err
	}
	return lost, s.remakeIndex(nil)
}

// copying appends rows to a store that nobody else has.
type copying struct {
	to      *Store
	rows    []copied
	seg     *segment
	vectors []byte
	bodies  []byte
}

type copied struct {
	body body
	at   int64
}

func (c *copying) add(b *body, vector []byte) error {
	s := c.to
	number := uint64(s.committed) + uint64(len(c.rows))
	if number >= math.MaxUint32 {
		return errNoRoom
	}
	b.row = uint32(number)
	if s.layout.placeOf(b.row) == 0 || len(c.vectors) >= writeSize || len(c.bodies) >= writeSize {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if len(c.rows) == 0 {
		seg, err := s.segmentFor(b.row)
		if err != nil {
			return err
		}
		c.seg = seg
	}
	at := c.seg.bodyEnd + int64(len(c.bodies))
	c.vectors = append(c.vectors, vector...)
	c.bodies = appendBody(c.bodies, b)
	b.stored = nil
	c.rows = append(c.rows, copied{body: *b, at: at})
	return nil
}

// flush writes what was gathered, and makes it part of the store. A segment that is full is synced: what is to be written
// back must not pile up.
func (c *copying) flush() error {
	if len(c.rows) == 0 {
		return nil
	}
	s := c.to
	vectorsAt := s.layout.vectorAt(s.layout.placeOf(c.rows[0].body.row))
	if err := errors.Join(s.disk.write(c.seg.vectors, c.vectors, vectorsAt), s.disk.write(c.seg.bodies, c.bodies, c.seg.bodyEnd)); err != nil {
		return fmt.Errorf("write the new store: %w", err)
	}
	for i := range c.rows {
		if err := s.adopt(c.seg, c.rows[i].at, &c.rows[i].body, nil); err != nil {
			return err
		}
	}
	c.rows, c.vectors, c.bodies = c.rows[:0], c.vectors[:0], c.bodies[:0]
	if c.seg.committed == int(s.layout.rows) {
		return s.syncAll([]*segment{c.seg})
	}
	return nil
}
