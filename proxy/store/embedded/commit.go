package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// commit writes the batch into the index. Everything the index knows stands in memory and, checksummed, in the segments,
// which are synced by now: so an index that bbolt cannot go on with is exchanged for a new one, and that is all.
func (s *Store) commit(b *batch) error {
	cause := s.tryCommit(b)
	switch outcomeOf(cause) {
	case committed:
		return nil
	case noRoom:
		return s.withoutRoom(b, cause)
	case diskFailed:
		return s.fail(cause)
	default:
		s.log.Warn("the index cannot be written and is made anew", "dir", s.dir, "reason", cause)
		if err := s.remakeIndex(b); err != nil {
			return err
		}
		if err := s.tryCommit(b); err != nil {
			return s.fail(err)
		}
		return nil
	}
}

func (s *Store) tryCommit(b *batch) error {
	err := s.disk.commit()
	if err == nil {
		err = s.index.commit(s.committed, b.rows, len(s.numbered), b.spaces)
	}
	if err != nil {
		return fmt.Errorf("commit to %s: %w", s.indexPath(), err)
	}
	return nil
}

func (s *Store) indexPath() string { return filepath.Join(s.dir, indexName) }

// outcome is what became of a commit.
type outcome int

const (
	committed  outcome = iota
	noRoom             // a write was refused, nothing is wrong with the disk
	diskFailed         // nobody knows what is on the disk
	indexBad           // bbolt panicked, would write in absurd places, or complains in words of its own
)

func outcomeOf(err error) outcome {
	var number unix.Errno
	var path *fs.PathError
	switch {
	case err == nil:
		return committed
	case errors.Is(err, errIndex) || !errors.As(err, &number) || number == unix.EFBIG:
		return indexBad
	case errors.Is(err, errFull) || (errors.As(err, &path) && path.Op == "write" && errors.Is(written(number), errFull)):
		return noRoom
	default:
		return diskFailed
	}
}

// withoutRoom opens the index anew after a write was refused, because bbolt's memory may be ahead of the file, and looks
// whether the commit is really not there.
func (s *Store) withoutRoom(b *batch, cause error) error {
	if err := s.index.close(); err != nil {
		return s.fail(errors.Join(cause, err))
	}
	x, err := openIndex(s.indexPath())
	if err != nil {
		return s.fail(errors.Join(cause, err))
	}
	s.index = x
	if rows, err := x.committed(); err != nil || rows != s.committed {
		return s.fail(errors.Join(cause, err))
	}
	return s.full(b, cause)
}

// remakeIndex exchanges the index for a new one of what is committed, which memory holds. While there is no room for that
// there is no index, and every Put tries again. The batch, which may be nil, is the one that has to wait then.
func (s *Store) remakeIndex(b *batch) error {
	if s.index != nil {
		if err := s.index.close(); err != nil {
			s.log.Warn("closing the damaged index", "error", err)
		}
		s.index = nil
	}
	switch err := s.newIndex(); {
	case err == nil:
		return nil
	case outcomeOf(err) == noRoom || errors.Is(err, unix.EFBIG):
		return s.full(b, err)
	default:
		return s.fail(err)
	}
}

// newIndex puts an index of what is committed in the place of whatever is there.
func (s *Store) newIndex() error {
	err := createIndex(s.disk, s.dir, s.namesFrom(0), func(yield func(uint32, []row) error) error { return s.eachRun(0, yield) })
	if err != nil {
		return err
	}
	s.index, err = openIndex(s.indexPath())
	return err
}
