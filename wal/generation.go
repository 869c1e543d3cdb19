package wal

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"path/filepath"

	tidwall "github.com/tidwall/wal"
	"golang.org/x/sys/unix"
)

// generation is one small tidwall log in a directory of its own: one segment, never cut, never truncated, deleted whole.
// Readers open its segment for themselves, so that nothing but the newest generations keeps a descriptor.
type generation struct {
	number uint64
	seal   seal
	path   string // of the segment

	base    uint64    // index of the first record, 0 until the first batch is committed; guarded by Journal.gens
	offsets []uint32  // of the frame of index base+i in the segment, 0 where it is damaged; guarded by Journal.gens
	bytes   int64     // of the segment, up to the last committed batch; guarded by Journal.gens
	sealed  bool      // nothing more will be written; guarded by Journal.gens
	spaces  *spaceSet // of its writes; nil where nobody has looked yet, in one of an earlier run; guarded by Journal.gens

	log    *tidwall.Log // the committer's; nil once sealed
	tail   tail         // of log
	file   *os.File     // the committer's, to take back a failed write; nil once sealed
	roomed bool         // it need not be tried again to allocate the journal's own room; guarded by stock.mu
}

// prepareGenerations makes the directories and the empty segments of n generations, and returns when all names are durable,
// so that an ack may rest on them: all of them or none. They are made first and synced then, so that one write of the file
// system's own journal serves them all.
func prepareGenerations(journalDir string, journal [16]byte, first uint64, n int, room int64) ([]*generation, error) {
	gens := make([]*generation, 0, n)
	err := func() error {
		for number := first; number < first+uint64(n); number++ {
			g, err := makeGeneration(journalDir, journal, number, room)
			if err != nil {
				return fmt.Errorf("make generation %d: %w", number, err)
			}
			gens = append(gens, g)
		}
		for _, g := range gens {
			if err := syncNames(filepath.Dir(g.path)); err != nil {
				return fmt.Errorf("make generation %d: %w", g.number, err)
			}
		}
		if err := syncNames(journalDir); err != nil {
			return fmt.Errorf("make generation %d: %w", first, err)
		}
		return nil
	}()
	if err != nil {
		for _, g := range gens {
			err = errors.Join(err, g.log.Close(), g.file.Close())
		}
		return nil, err
	}
	return gens, nil
}

// makeGeneration makes a directory and an empty segment. What an earlier crash left under this number is made anew. The
// first room bytes are allocated where the file system can do that, so that a full disk still takes what gives space back.
func makeGeneration(journalDir string, journal [16]byte, number uint64, room int64) (*generation, error) {
	dir := GenerationDir(journalDir, number)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	log, err := tidwall.Open(dir, &tidwall.Options{
		NoSync:      true,          // the committer syncs, so that a failed write and a failed fsync are told apart
		SegmentSize: math.MaxInt32, // above any generation: tidwall never begins a second segment
		AllowEmpty:  true,
		DirPerms:    0o700,
		FilePerms:   0o600,
	})
	if err != nil {
		return nil, err
	}
	g := &generation{number: number, seal: newSeal(journal, number), path: SegmentPath(journalDir, number), log: log, tail: tailOf(log), spaces: &spaceSet{}}
	if g.file, err = os.OpenFile(g.path, os.O_RDWR, 0); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	g.allocate(room)
	return g, nil
}

// allocate makes sure of the first room bytes. It is a kindness of the file system, not a need: where there is no room it
// can be tried again, and where the file system cannot do it at all the journal does without.
func (g *generation) allocate(room int64) {
	err := unix.Fallocate(int(g.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, room)
	g.roomed = err == nil || !isNoRoom(err)
}

// scannedGeneration is a generation of an earlier run, as a scan found it. One without a whole record stands where the
// one before it ends, at index follows, so that the table stays in order.
func scannedGeneration(s *Scanned, journal [16]byte, follows uint64) *generation {
	g := &generation{
		number: s.Number, seal: newSeal(journal, s.Number), path: s.Path,
		base: s.Base, offsets: s.Offsets, bytes: s.Size, sealed: true,
	}
	if g.base == 0 {
		g.base = follows
	}
	return g
}

// next is the index behind the generation's last record.
func (g *generation) next() uint64 { return g.base + uint64(len(g.offsets)) }

func (g *generation) holds(index uint64) bool { return index >= g.base && index < g.next() }

// cut takes back what a failed write may have left behind the last synced byte.
func (g *generation) cut(size int64) error {
	if err := g.file.Truncate(size); err != nil {
		return fmt.Errorf("cut %s to %d bytes: %w", g.path, size, err)
	}
	if err := g.file.Sync(); err != nil {
		return fmt.Errorf("cut %s to %d bytes: %w: %w", g.path, size, errSync, err)
	}
	return nil
}

// remove deletes the generation's files. It needs no fsync: the released frame is durable, and what a crash brings back
// the next start deletes again.
func (g *generation) remove() error {
	if err := os.RemoveAll(filepath.Dir(g.path)); err != nil {
		return fmt.Errorf("delete generation %d: %w", g.number, err)
	}
	return nil
}

// harden makes the last batch of an earlier run durable before anything rests on it. What a scan read may be in the page
// cache alone: its writer may have been killed before the fsync, or the fsync may have failed, after which Linux counts
// the pages as clean and a second fsync answers success. So the same bytes are written over themselves, and then synced.
func harden(s *Scanned) error {
	from, to := s.lastBatch()
	if from == to {
		return nil
	}
	f, err := os.OpenFile(s.Path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("make generation %d durable: %w", s.Number, err)
	}
	if err := errors.Join(rewrite(f, from, to), f.Close()); err != nil {
		return fmt.Errorf("%w: make generation %d durable: %w", ErrFailed, s.Number, err)
	}
	return nil
}

// rewrite writes the bytes of f between from and to over themselves and syncs them.
func rewrite(f *os.File, from, to int64) error {
	b, err := io.ReadAll(io.NewSectionReader(f, from, to-from))
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, from); err != nil && !isNoRoom(err) { // a full disk that never writes in place must do with the sync
		return err
	}
	return f.Sync()
}

// entrySize is what tidwall writes for a frame: its length as a varint, and the frame.
func entrySize(frame int) int { return (bits.Len(uint(frame))+6)/7 + frame }
