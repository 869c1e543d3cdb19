package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sketches are a segment's file of sketches, mapped read-only, as long as it can become from the start: what was not written
// yet is a hole, takes no room and reads as zeros.
type sketches struct {
	file   *os.File
	mapped []byte
	known  sharedBitset // rows whose sketch was found to be theirs since the start
	lost   atomic.Bool  // the file could not be read where it is mapped: it is not looked at again
}

func (l layout) sketchAt(place int) int64 { return headerBytes + int64(place)*sketchBytes }

func openSketches(d *disk, path string, number int, l layout) (*sketches, error) {
	f, err := d.open(path)
	if err != nil {
		return nil, err
	}
	s := &sketches{file: f, known: newSharedBitset(l.rows)}
	size, header := l.sketchAt(int(l.rows)), segmentHeader(sketchesMagic, number, l)
	info, err := f.Stat()
	if err == nil && (info.Size() != size || !beginsWith(f, header)) {
		err = d.cut(f, 0) // of another version, or of nothing we know
		if err == nil {
			err = d.write(f, header, 0)
		}
		if err == nil {
			err = d.cut(f, size)
		}
	}
	if err == nil {
		s.mapped, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

func beginsWith(f *os.File, header []byte) bool {
	b := make([]byte, len(header))
	_, err := f.ReadAt(b, 0)
	return err == nil && string(b) == string(header)
}

func (s *sketches) close() error { return errors.Join(unix.Munmap(s.mapped), s.file.Close()) }

// raw returns a sketch as it lies on disk. Reading it may fault where the disk fails.
func (s *sketches) raw(place int) []byte {
	at := headerBytes + place*sketchBytes
	return s.mapped[at : at+sketchBytes : at+sketchBytes]
}

// has says that the row's sketch can be looked at.
func (s *sketches) has(place int) bool { return s != nil && s.known.has(place) && !s.lost.Load() }

// product compares a sketch with a cue.
func (s *sketches) product(place int, q *sketchedQuery) int32 {
	return dotCodes((*codes)(unsafe.Pointer(&s.mapped[headerBytes+place*sketchBytes])), &q.codes) //nolint:gosec // the mapping has room for the sketch of every place
}

// covers says that an address lies in the mapping.
func (s *sketches) covers(address uintptr) bool {
	first := uintptr(unsafe.Pointer(&s.mapped[0])) //nolint:gosec // the address is compared, and nothing is read there
	return address >= first && address-first < uintptr(len(s.mapped))
}

// sketchPause is how long nobody tries to write sketches after one could not be written.
const sketchPause = time.Minute

// sketching is what the store keeps about its sketches beside the segments' own.
type sketching struct {
	mu    sync.Mutex   // held while a file is opened
	pause atomic.Int64 // Unix nanoseconds until which nothing is written
}

// sketchesOf returns a segment's sketches, and opens their file first; nil where it cannot be used.
func (s *Store) sketchesOf(seg *segment) *sketches {
	if sk := seg.sketches.Load(); sk != nil {
		return sk
	}
	if s.cfg.now().UnixNano() < s.sketching.pause.Load() {
		return nil
	}
	s.sketching.mu.Lock()
	defer s.sketching.mu.Unlock()
	if sk := seg.sketches.Load(); sk != nil {
		return sk
	}
	sk, err := openSketches(s.disk, segmentPath(s.dir, sketchesPrefix, seg.number), seg.number, s.layout)
	if err != nil {
		s.pauseSketching(err)
		return nil
	}
	seg.sketches.Store(sk)
	return sk
}

// pauseSketching puts off what could not be written. Recalls go on without: they read the vectors instead.
func (s *Store) pauseSketching(err error) {
	now := s.cfg.now()
	if s.sketching.pause.Swap(now.Add(sketchPause).UnixNano()) < now.UnixNano() {
		s.log.Warn("sketches of vectors cannot be written; recalls are exact without, and slower; the next try is in a minute",
			"dir", s.dir, "error", err)
	}
}

// loseSketches gives up those of a segment whose file could not be read.
func (s *Store) loseSketches(sk *sketches, err error) {
	if !sk.lost.Swap(true) {
		s.log.Error("sketches of vectors cannot be read; recalls are exact without, and slower: check the disk",
			"file", sk.file.Name(), "error", err)
	}
}

// isSketches returns the segment a file of sketches belongs to.
func isSketches(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, sketchesPrefix)
	if !ok {
		return 0, false
	}
	digits, ok = strings.CutSuffix(digits, segmentSuffix)
	n, err := strconv.ParseUint(digits, 10, 31)
	return int(n) - 1, ok && err == nil && n > 0
}

// removeSketches removes those of segments that are no more. Nothing rests on it.
func (s *Store) removeSketches() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if number, ok := isSketches(e.Name()); ok && number >= len(s.segments) {
			if err := s.disk.remove(filepath.Join(s.dir, e.Name())); err != nil {
				s.log.Warn("sketches without vectors cannot be removed", "error", err)
			}
		}
	}
}

// sketchBytesOnDisk is the room that a segment's sketches take; the file is longer.
func (s *Store) sketchBytesOnDisk(number int) int64 {
	var st unix.Stat_t
	if err := unix.Stat(segmentPath(s.dir, sketchesPrefix, number), &st); err != nil {
		return 0
	}
	return st.Blocks * 512
}

// sketcher makes the sketches of rows that one worker looks at for the first time, and writes those that stand side by side
// at once.
type sketcher struct {
	store *Store
	seg   *segment
	sk    *sketches
	from  int    // place of the first
	made  []byte // not written yet
}

// mostMade bounds what is gathered, in bytes.
const mostMade = 256 * sketchBytes

// find makes the sketch of a row known if it stands in the file.
func (k *sketcher) find(seg *segment, place int) bool {
	sk := k.store.sketchesOf(seg)
	if sk == nil || sk.lost.Load() || !isSketchOf(sk.raw(place), &seg.rows[place]) {
		return false
	}
	sk.known.add(place)
	return true
}

// add makes a sketch of a verified vector.
func (k *sketcher) add(seg *segment, place int) {
	sk := k.store.sketchesOf(seg)
	if sk == nil || sk.lost.Load() || k.store.cfg.now().UnixNano() < k.store.sketching.pause.Load() {
		return
	}
	if k.seg != seg || place != k.from+len(k.made)/sketchBytes || len(k.made) >= mostMade {
		k.flush()
		k.seg, k.sk, k.from = seg, sk, place
	}
	k.made = appendSketch(k.made, seg.vector(place), &seg.rows[place])
}

func (k *sketcher) flush() {
	if len(k.made) == 0 {
		return
	}
	if err := k.store.disk.write(k.sk.file, k.made, k.store.layout.sketchAt(k.from)); err != nil {
		k.store.pauseSketching(fmt.Errorf("write %s: %w", k.sk.file.Name(), err))
	} else {
		for i := range len(k.made) / sketchBytes {
			k.sk.known.add(k.from + i)
		}
	}
	k.made = k.made[:0]
}
