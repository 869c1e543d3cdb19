package embedded

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Put stores a batch of writes, all of them in one commit, and answers for each at the same place. nil means that the
// memory and the names of the files it is in were synced to the disk, or that the store has this version or a newer one.
//
// An item that can never be stored (768 finite floats, a name of a space, an id, a form with a vector) is refused with
// store.Permanent; the others are stored all the same. When the disk fails, the answer to all that were to be written is
// store.Unavailable: where it is full, the next Put tries again; after anything else nothing more is stored until the
// directory is opened anew. A ctx that ends before the batch's turn leaves all of it unstored; afterwards it is not looked at.
//
// Callers wait for one another. The batch may be used again when Put returns.
func (s *Store) Put(ctx context.Context, records []wal.Record) []error {
	errs := make([]error, len(records))
	if err := s.enter(); err != nil {
		return fill(errs, store.Unavailable(err))
	}
	defer s.leave()
	if err := s.takeTurn(ctx); err != nil {
		return fill(errs, fmt.Errorf("embedded store: not stored: %w", err))
	}
	defer s.giveTurn()
	if err := s.ready(); err != nil {
		return fill(errs, store.Unavailable(err))
	}
	b := &s.batch
	defer b.reset()
	for i := range records {
		errs[i] = s.add(b, i, &records[i])
	}
	if err := s.store(b); err != nil {
		err = store.Unavailable(err)
		for _, i := range b.waiting {
			errs[i] = err
		}
	}
	return errs
}

func fill(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// ready refuses to write after a failure, and clears away what a full disk left half written.
func (s *Store) ready() error {
	if s.failed != nil {
		return s.failed
	}
	for len(s.torn) > 0 {
		if _, err := s.torn[0].cutBack(s.disk, s.layout); err != nil {
			return s.fail(err)
		}
		s.torn = s.torn[1:]
	}
	if s.index == nil {
		return s.remakeIndex(nil)
	}
	return nil
}

// fail makes an error the answer to every later Put.
func (s *Store) fail(err error) error {
	s.failed = fmt.Errorf("embedded store: %w; nothing more is stored: check the disk that holds %s, then start the sidecar again",
		err, s.dir)
	s.log.Error("the embedded store stops storing", "error", err, "dir", s.dir)
	return s.failed
}

// full answers a write for which there was no room. What the batch has written is cut off before the next.
func (s *Store) full(b *batch, err error) error {
	if b != nil {
		s.torn = append(s.torn, b.touched...)
	}
	return fmt.Errorf("embedded store: %w; free space on the disk that holds %s, storing then goes on by itself", err, s.dir)
}

// store writes the batch, syncs it, commits it and shows it, in this order: what the index knows is on disk, and what
// recalls see is in the index.
func (s *Store) store(b *batch) error {
	if len(b.entries) == 0 {
		return nil
	}
	if uint64(s.committed)+uint64(len(b.entries)) >= math.MaxUint32 {
		return errNoRoom
	}
	if err := s.atLimit(len(b.entries)); err != nil {
		return err
	}
	if err := s.write(b); err != nil {
		if errors.Is(err, errFull) {
			return s.full(b, err)
		}
		return s.fail(err)
	}
	if err := s.syncAll(b.touched); err != nil {
		return s.fail(err) // and never sync again: the kernel may have dropped the pages it could not write
	}
	if err := s.commit(b); err != nil {
		return err
	}
	s.publish(b)
	s.warn()
	return nil
}

// writeSize is how much is gathered before it is written, in bytes.
const writeSize = 1 << 20

// write appends the batch to its segments.
func (s *Store) write(b *batch) error {
	now := s.cfg.now().UnixNano()
	number := s.committed
	for i := 0; i < len(b.entries); {
		seg, err := s.segmentFor(number)
		if err != nil {
			return err
		}
		b.touched = append(b.touched, seg)
		n := min(len(b.entries)-i, int(s.layout.rows)-s.layout.placeOf(number))
		if err := s.writeRun(b, seg, b.entries[i:i+n], number, now); err != nil {
			return err
		}
		i, number = i+n, number+uint32(n) //nolint:gosec // at most a segment
	}
	return nil
}

// writeRun appends entries to one segment.
func (s *Store) writeRun(b *batch, seg *segment, run []entry, number uint32, now int64) error {
	vectorsAt, bodiesAt := s.layout.vectorAt(s.layout.placeOf(number)), seg.bodyEnd
	b.vectors, b.bodies = b.vectors[:0], b.bodies[:0]
	for i := range run {
		r := b.encode(&run[i], number+uint32(i), bodiesAt+int64(len(b.bodies)), now)
		b.rows = append(b.rows, r)
		if i < len(run)-1 && len(b.vectors) < writeSize && len(b.bodies) < writeSize {
			continue
		}
		if err := s.disk.write(seg.vectors, b.vectors, vectorsAt); err != nil {
			return fmt.Errorf("write %s: %w", seg.vectors.Name(), err)
		}
		if err := s.disk.write(seg.bodies, b.bodies, bodiesAt); err != nil {
			return fmt.Errorf("write %s: %w", seg.bodies.Name(), err)
		}
		vectorsAt, bodiesAt = vectorsAt+int64(len(b.vectors)), bodiesAt+int64(len(b.bodies))
		b.vectors, b.bodies = b.vectors[:0], b.bodies[:0]
	}
	return nil
}

// syncAll makes the files of these segments durable, a segment's two at once.
func (s *Store) syncAll(segments []*segment) error {
	for _, seg := range segments {
		var vectors, bodies error
		var other sync.WaitGroup // waited for below
		other.Go(func() { bodies = s.disk.sync(seg.bodies) })
		vectors = s.disk.sync(seg.vectors)
		other.Wait()
		if vectors != nil {
			return fmt.Errorf("sync %s: %w", seg.vectors.Name(), vectors)
		}
		if bodies != nil {
			return fmt.Errorf("sync %s: %w", seg.bodies.Name(), bodies)
		}
	}
	return nil
}
