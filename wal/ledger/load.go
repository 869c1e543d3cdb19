package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// readDisk reads the whole file and changes nothing. The error wraps os.ErrNotExist, ErrDamaged or wal.ErrNewerFormat, or is
// the file system's.
func readDisk(path string, journal [16]byte) (*known, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	if err := share(f); err != nil {
		return nil, fmt.Errorf("open the ledger %s: %w", path, err)
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	k := newKnown()
	p, err := openPages(f, fi.Size())
	if err == nil {
		err = load(p, journal, k)
	}
	if err != nil {
		return nil, fmt.Errorf("read the ledger %s: %w", path, err)
	}
	k.sort()
	return k, nil
}

// ReadLetters visits the dead letters that the ledger's file holds, ascending, and changes nothing. Where inUse is true a
// process has the file and writes to it: then what is visited is what stood there at one moment, not long ago. The error wraps
// os.ErrNotExist or ErrDamaged, or is visit's, or the file system's.
func ReadLetters(dataDir string, inUse bool, visit func(*Letter) error) error {
	path := filepath.Join(dataDir, FileName)
	var letters []*Letter
	for try := 0; ; try++ {
		var err error
		letters, err = readLetters(path, inUse)
		if err == nil {
			break
		}
		if !inUse || try == readTries || !errors.Is(err, ErrDamaged) {
			return fmt.Errorf("read the dead letters in %s: %w", path, err)
		}
		time.Sleep(readPause) // it was being written: a flush is short, and they are far between
	}
	for _, l := range letters {
		if err := visit(l); err != nil {
			return err
		}
	}
	return nil
}

const (
	readTries = 20
	readPause = 20 * time.Millisecond
)

func readLetters(path string, inUse bool) (out []*Letter, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	if !inUse {
		if err := share(f); err != nil {
			return nil, err
		}
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p, err := openPages(f, fi.Size())
	if err != nil {
		return nil, err
	}
	err = p.each(bucketNames[bucketLetters], func(key, sealed []byte) error {
		value, err := openValue(key, bytes.Clone(sealed))
		if err != nil {
			return err
		}
		l, err := decodeLetter(value)
		out = append(out, l)
		return err
	})
	return out, err
}

// share waits a moment for bbolt's own lock: whoever holds it writes.
func share(f *os.File) error {
	for end := time.Now().Add(lockTimeout); ; time.Sleep(lockTimeout / 50) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("another process holds it: %w", bolterrors.ErrTimeout)
		}
	}
}

func load(p *pages, journal [16]byte, k *known) error {
	counts, err := loadMeta(p, journal, k)
	if err != nil {
		return err
	}
	err = each(p, bucketGenerations, counts, func(key, value []byte) error {
		n, err := parseKey(key)
		if err != nil {
			return err
		}
		k.gens[n], err = decodeGeneration(value)
		return err
	})
	if err != nil {
		return err
	}
	err = each(p, bucketSessions, counts, func(key, value []byte) error {
		s, err := decodeSession(key, value)
		k.sessions = append(k.sessions, s)
		return err
	})
	if err != nil {
		return err
	}
	return each(p, bucketLetters, counts, func(key, value []byte) error {
		n, err := parseKey(key)
		if err != nil {
			return err
		}
		l, err := decodeLetter(value)
		if err == nil {
			k.letters[n] = knownLetter{session: l.Session, sequence: l.Sequence, size: l.size(), id: keyOf(l.Space, l.ID), superseded: l.Superseded}
		}
		return err
	})
}

// loadMeta reads what the file says of itself; how to read the rest depends on it.
func loadMeta(p *pages, journal [16]byte, k *known) (counts []uint64, err error) {
	m := metas{values: map[string][]byte{}}
	if err := p.each(bucketMeta, func(key, value []byte) error { m.values[string(key)] = value; return nil }); err != nil {
		return nil, err
	}
	if format := m.number(keyFormat); m.err == nil && format > FormatVersion {
		return nil, fmt.Errorf("%w: the ledger says format %d, this build reads up to %d: run the version that wrote it, or a newer one",
			wal.ErrNewerFormat, format, FormatVersion)
	}
	if id := m.value(keyJournal); m.err == nil && !bytes.Equal(id, journal[:]) {
		return nil, fmt.Errorf("%w: it belongs to another journal (%x, expected %x)", ErrDamaged, id, journal)
	}
	k.past.Durable, k.past.Newest = m.number(keyDurable), m.number(keyNewest)
	var totals [10]uint64
	counts = make([]uint64, kinds)
	m.numbers(keyTotals, totals[:])
	m.numbers(keyCounts, counts)
	k.past.Released, k.past.Total = decodeTotals(totals)
	return counts, m.err
}

// metas are the values of the meta bucket; the first that is damaged is noted.
type metas struct {
	values map[string][]byte
	err    error
}

func (m *metas) value(key []byte) []byte {
	value, err := openValue(key, m.values[string(key)])
	if m.err == nil {
		m.err = err
	}
	return value
}

func (m *metas) numbers(key []byte, numbers []uint64) {
	if err := decodeNumbers(m.value(key), numbers); m.err == nil {
		m.err = err
	}
}

func (m *metas) number(key []byte) uint64 {
	n, err := parseKey(m.value(key))
	if m.err == nil {
		m.err = err
	}
	return n
}

// each visits all that a bucket holds, and must hold.
func each(p *pages, bucket int, counts []uint64, visit func(key, value []byte) error) error {
	n := uint64(0)
	err := p.each(bucketNames[bucket], func(key, sealed []byte) error {
		n++
		value, err := openValue(key, sealed)
		if err != nil {
			return err
		}
		return visit(key, value)
	})
	if err == nil && n != counts[bucket] {
		err = fmt.Errorf("%w: its %s bucket holds %d values, expected %d", ErrDamaged, bucketNames[bucket], n, counts[bucket])
	}
	return err
}
