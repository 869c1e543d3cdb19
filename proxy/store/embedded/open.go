package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Open opens the store in dir, and creates it where there is none. It takes over what a crash left: rows behind the last
// commit that are whole become part of the store, the rest is cut off; an index that is lost or damaged is made anew from
// the segments, which reads all of them. Damaged rows do not keep it from opening: see Stats and Damages.
//
// The error wraps wal.ErrLocked where another process has the directory open, and wal.ErrNewerFormat where a newer program
// wrote it; nothing was touched then.
func Open(dir string, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	if !littleEndian {
		return nil, errors.New("embedded store: this processor is big-endian, the files are not; use another store")
	}
	cfg = cfg.withDefaults()
	s := &Store{
		dir: dir, cfg: cfg, disk: cfg.disk, log: cfg.Logger, turn: make(chan struct{}, 1), spaces: map[string]*space{},
	}
	s.batch.reset()
	if err := s.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the embedded store in %s: %w", dir, err), s.release())
	}
	s.warn()
	s.giveTurn()
	return s, nil
}

func (s *Store) start() error {
	if err := makeDir(s.disk, s.dir); err != nil {
		return err
	}
	lock, err := wal.AcquireLock(s.dir)
	if err != nil {
		return err
	}
	s.lock = lock
	if err := s.removeLeft(); err != nil {
		return err
	}
	files, err := listSegments(s.dir)
	if err != nil {
		return err
	}
	if err := s.settleFormat(files); err != nil {
		return err
	}
	err = s.loadIndex()
	switch {
	case err == nil:
		if err := s.rollForward(files); err != nil {
			return err
		}
		return s.cutTails(files, s.disk.remove)
	case errors.Is(err, errIndex) || errors.Is(err, errFault):
		if err := s.rebuild(files, err); err != nil {
			return err
		}
		return s.cutTails(files, s.setAside)
	default:
		return err
	}
}

// settleFormat finds the layout the directory was created with, or creates it. Where the FORMAT file is missing or damaged the
// segments tell what stood in it.
func (s *Store) settleFormat(files segmentFiles) error {
	l, found, err := readFormat(s.dir)
	if err != nil && !errors.Is(err, errFormat) {
		return err
	}
	s.layout = l
	if found {
		return nil
	}
	switch told, ok := files.layout(); {
	case ok && err != nil:
		s.layout = told
		s.log.Warn("the store's FORMAT file was damaged and is written anew", "dir", s.dir, "found", err)
	case ok:
		s.layout = told
		s.log.Warn("the store's FORMAT file was missing and is written anew", "dir", s.dir)
	case err != nil:
		return err
	case len(files.paths) > 0:
		return fmt.Errorf("%s is missing and no segment can tell what stood in it; restore it, or move the directory away",
			filepath.Join(s.dir, formatName))
	default:
		s.layout = newLayout(s.cfg.SegmentRows)
	}
	return writeFormat(s.disk, s.dir, s.layout)
}

// segmentFiles are the files of segments in a directory.
type segmentFiles struct {
	paths   []string // in the order of names
	numbers []int    // of the segment each belongs to
	count   int      // segments up to the highest that has a file
}

func listSegments(dir string) (files segmentFiles, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return files, fmt.Errorf("list the segments: %w", err)
	}
	for _, e := range entries {
		if number, ok := segmentNumber(e.Name()); ok {
			files.paths = append(files.paths, filepath.Join(dir, e.Name()))
			files.numbers = append(files.numbers, number)
			files.count = max(files.count, number+1)
		}
	}
	return files, nil
}

func segmentNumber(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, vectorsPrefix)
	if !ok {
		if digits, ok = strings.CutPrefix(name, bodiesPrefix); !ok {
			return 0, false
		}
	}
	digits, ok = strings.CutSuffix(digits, segmentSuffix)
	n, err := strconv.ParseUint(digits, 10, 31)
	return int(n) - 1, ok && err == nil && n > 0
}

func (f segmentFiles) layout() (layout, bool) {
	for _, path := range f.paths {
		if l, ok := layoutOf(path); ok {
			return l, true
		}
	}
	return layout{}, false
}

// loadIndex reads what is committed into memory.
func (s *Store) loadIndex() error {
	x, err := openIndex(s.indexPath())
	if err != nil {
		return err
	}
	s.index = x
	if err := x.load(s.nameSpaces, s.loadRows); err != nil {
		return err
	}
	for _, sp := range s.numbered {
		sp.sweep(s.isDead)
	}
	return s.checkLengths()
}

func (s *Store) nameSpaces(names []string) {
	for _, name := range names {
		s.addSpace(name)
	}
}

func (s *Store) loadRows(first uint32, raw []byte) error {
	for ; len(raw) > 0; first, raw = first+1, raw[rowBytes:] {
		seg, err := s.segmentFor(first)
		if err != nil {
			return err
		}
		r := &seg.rows[s.layout.placeOf(first)]
		readRow(raw, r)
		older, replaced, err := s.admit(first, r)
		if err != nil {
			return err
		}
		if replaced {
			s.segments[s.layout.segmentOf(older)].dead.set(s.layout.placeOf(older))
		}
	}
	return nil
}

// checkLengths finds committed rows behind the end of their files. The files are made as long as they should be, so that
// reading there finds zeros, which no checksum takes for a row.
func (s *Store) checkLengths() error {
	for _, seg := range s.segments {
		whole, err := s.wholeRows(seg)
		if err != nil {
			return err
		}
		if whole == seg.committed {
			continue
		}
		if _, err := seg.cutBack(s.disk, s.layout); err != nil {
			return err
		}
		s.markLost(seg, whole, seg.committed, errShort)
	}
	return nil
}

// wholeRows returns how many of a segment's committed rows lie within both files.
func (s *Store) wholeRows(seg *segment) (int, error) {
	vectors, err := seg.vectors.Stat()
	if err != nil {
		return 0, fmt.Errorf("size of the vectors: %w", err)
	}
	bodies, err := seg.bodies.Stat()
	if err != nil {
		return 0, fmt.Errorf("size of the bodies: %w", err)
	}
	whole := min(seg.committed, int(max(0, vectors.Size()-headerBytes)/vectorBytes))
	for whole > 0 && int64(seg.rows[whole-1].end()) > bodies.Size() { //nolint:gosec // sizes of files
		whole--
	}
	return whole, nil
}

// cutTails leaves nothing behind the committed rows: neither bytes nor files.
func (s *Store) cutTails(files segmentFiles, discard func(path string) error) error {
	for len(s.segments) > 0 {
		last := s.segments[len(s.segments)-1]
		if last.committed > 0 {
			break
		}
		if err := last.close(); err != nil {
			return fmt.Errorf("close segment %d: %w", last.number+1, err)
		}
		s.segments = s.segments[:len(s.segments)-1]
	}
	for i, path := range files.paths {
		if files.numbers[i] < len(s.segments) {
			continue
		}
		s.log.Info("a segment without a committed row is discarded", "file", path)
		if err := discard(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("discard a segment without rows: %w", err)
		}
	}
	s.removeSketches()
	for _, seg := range s.segments {
		n, err := seg.cutBack(s.disk, s.layout)
		if err != nil {
			return err
		}
		if n > 0 {
			s.log.Info("cut off what a crash left behind the last whole row", "segment", seg.number+1, "bytes", n)
		}
	}
	return nil
}

// setAside keeps a file of which nothing could be read under another name, where it held more than a header: without an
// index nobody can say whether it was never committed or is damaged.
func (s *Store) setAside(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= headerBytes {
		return s.disk.remove(path)
	}
	s.log.Warn("nothing in a segment can be read; it is set aside", "file", path, "as", path+asideSuffix)
	return s.disk.rename(path, path+asideSuffix)
}
