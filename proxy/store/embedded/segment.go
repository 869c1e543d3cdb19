package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// A segment is up to layout.rows memories: their vectors in one file, mapped read-only, their bodies in another. Both grow
// at their ends by ordinary writes and are never changed before that.
type segment struct {
	number  int
	vectors *os.File
	bodies  *os.File

	// mapped is the vectors file as large as it can become. Pages behind its end must not be touched, pages of a row that
	// was published are there.
	mapped []byte
	floats []float32 // mapped, behind the header

	// rows has room for all rows from the start: what stands in it up to the last published row never changes.
	rows []row

	// Owned by whoever holds the writer's turn.
	committed int   // rows
	bodyEnd   int64 // bytes of the bodies file that are committed

	// dead holds a bit for each row that a newer one has replaced. A set is never changed, only exchanged for a larger one,
	// under Store.mu: a recall keeps the one it began with.
	dead bitset

	sketches atomic.Pointer[sketches] // nil until a recall of many rows first looks at them

	verified sharedBitset // rows whose vector was compared with its checksum since the start
	damaged  sharedBitset // rows that are not what was written
}

func segmentPath(dir, prefix string, number int) string {
	return filepath.Join(dir, fmt.Sprintf("%s%06d%s", prefix, number+1, segmentSuffix))
}

func (l layout) vectorAt(place int) int64 { return headerBytes + int64(place)*vectorBytes }

// openSegment opens both files of a segment and maps the vectors. What is missing of them is created, with a durable name.
func openSegment(d *disk, dir string, number int, l layout) (*segment, error) {
	s := &segment{
		number: number, bodyEnd: headerBytes, rows: make([]row, l.rows), dead: newBitset(l.rows),
		verified: newSharedBitset(l.rows), damaged: newSharedBitset(l.rows),
	}
	var freshVectors, freshBodies bool
	var err error
	s.vectors, freshVectors, err = openPart(d, segmentPath(dir, vectorsPrefix, number), segmentHeader(vectorsMagic, number, l))
	if err == nil {
		s.bodies, freshBodies, err = openPart(d, segmentPath(dir, bodiesPrefix, number), segmentHeader(bodiesMagic, number, l))
	}
	if err == nil && (freshVectors || freshBodies) {
		err = d.syncDir(dir)
	}
	if err == nil {
		err = s.mapVectors(l)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("segment %d: %w", number+1, err), s.close())
	}
	return s, nil
}

// openPart opens one file of a segment; fresh says that it had no header yet, and so perhaps no durable name.
func openPart(d *disk, path string, header []byte) (f *os.File, fresh bool, err error) {
	f, err = d.open(path)
	if err != nil {
		return nil, false, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < headerBytes {
		fresh, err = true, d.write(f, header, 0)
	}
	if err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	return f, fresh, nil
}

func (s *segment) mapVectors(l layout) error {
	size := l.vectorAt(int(l.rows))
	m, err := unix.Mmap(int(s.vectors.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", s.vectors.Name(), err)
	}
	s.mapped = m
	//nolint:gosec // the mapping begins at a page and is size bytes long
	s.floats = unsafe.Slice((*float32)(unsafe.Pointer(&m[headerBytes])), int(l.rows)*store.Dimensions)
	return nil
}

// vector returns a row's numbers. Reading them may fault where the disk fails; see fault.go.
func (s *segment) vector(place int) []float32 {
	return s.floats[place*store.Dimensions : (place+1)*store.Dimensions : (place+1)*store.Dimensions]
}

// vectorRaw returns a row's numbers as they lie on disk.
func (s *segment) vectorRaw(place int) []byte {
	at := headerBytes + place*vectorBytes
	return s.mapped[at : at+vectorBytes : at+vectorBytes]
}

// vectorMatches compares a row's vector with its checksum.
func (s *segment) vectorMatches(place int) bool {
	return checksum(s.vectorRaw(place)) == s.rows[place].sum
}

// cutBack removes whatever stands behind the committed rows, and returns how many bytes that was.
func (s *segment) cutBack(d *disk, l layout) (int64, error) {
	vectors, err := setLength(d, s.vectors, l.vectorAt(s.committed))
	if err != nil {
		return 0, err
	}
	bodies, err := setLength(d, s.bodies, s.bodyEnd)
	return vectors + bodies, err
}

// setLength cuts a file, or lengthens it with zeros, and returns how much it was too long.
func setLength(d *disk, f *os.File, size int64) (int64, error) {
	info, err := f.Stat()
	if err == nil && info.Size() == size {
		return 0, nil
	}
	if err == nil {
		err = d.cut(f, size)
	}
	if err != nil {
		return 0, fmt.Errorf("set the length of %s to %d bytes: %w", f.Name(), size, err)
	}
	return info.Size() - size, nil
}

// markDead adds rows to the set of replaced ones, as one exchange.
func (s *segment) markDead(places []int) {
	dead := slices.Clone(s.dead)
	for _, p := range places {
		dead.set(p)
	}
	s.dead = dead
}

func (s *segment) close() error {
	var errs []error
	if s.mapped != nil {
		errs = append(errs, unix.Munmap(s.mapped))
		s.mapped, s.floats = nil, nil
	}
	if sk := s.sketches.Swap(nil); sk != nil {
		errs = append(errs, sk.close())
	}
	for _, f := range []*os.File{s.vectors, s.bodies} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// bitset is a set of places within a segment.
type bitset []uint64

func newBitset(n uint32) bitset { return make(bitset, (n+63)/64) }
func (b bitset) set(i int)      { b[i>>6] |= 1 << (i & 63) }
func (b bitset) has(i int) bool { return b[i>>6]&(1<<(i&63)) != 0 }

// sharedBitset is a set that only grows, while others read it.
type sharedBitset []atomic.Uint64

func newSharedBitset(n uint32) sharedBitset { return make(sharedBitset, (n+63)/64) }
func (b sharedBitset) has(i int) bool       { return b[i>>6].Load()&(1<<(i&63)) != 0 }

// add returns false where the place was in the set already.
func (b sharedBitset) add(i int) bool {
	bit := uint64(1) << (i & 63)
	return b[i>>6].Or(bit)&bit == 0
}
