package wal

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// measureEvery is how often the keeper asks the disk what is free. Between two answers the journal's own growth is counted.
const measureEvery = 200 * time.Millisecond

// The smallest size at which a generation is finished, and the room for the journal's own records that each has from the
// start, in bytes.
const (
	leastGeneration = 16 << 10
	leastEver       = 4 << 10 // where the quota is smaller than that
	mostOwnRoom     = 64 << 10
)

// space is what the journal may still take. It is guarded by Journal.mu.
type space struct {
	used       int64 // bytes of all generations, and of what is being written
	free       int64 // of the disk, as last measured, less what was appended since
	quota      int64
	reserve    int64
	generation int64 // size at which a generation is finished
}

// ownRoom is what a generation allocates beforehand, so that the released record that gives space back has a place on a
// disk that is full to the last byte.
func (s *space) ownRoom() int64 { return min(mostOwnRoom, s.generation/4) }

// admit refuses what clients bring when it would cross the quota or touch the reserve. What the journal writes on its own
// behalf is let through: it is small, and it is what gives space back.
func (s *space) admit(k Kind, size int64) error {
	if k != KindWrite && k != KindSessionOpened {
		return nil
	}
	if s.used+size > s.quota {
		return fmt.Errorf("%w: it uses %d of %d bytes (journal-max-bytes): observations go on when the store has taken some",
			ErrFull, s.used, s.quota)
	}
	if s.free-size < s.reserve {
		return fmt.Errorf("%w: %d bytes are free on its disk, %d are kept in reserve (journal-reserve-bytes): free some space",
			ErrFull, s.free, s.reserve)
	}
	return nil
}

func (s *space) appended(size int64) { s.used += size; s.free -= size }

// pressure is how much of what the journal may take is taken: 0 is empty, 1 is full. What others keep on the disk counts
// only in so far as it leaves less room, so that a large disk which is mostly full is no reason for alarm.
func (s *space) pressure() float64 {
	room := min(s.quota-s.used, s.free-s.reserve)
	if room <= 0 {
		return 1
	}
	return min(1, float64(s.used)/float64(s.used+room))
}

// measure asks the disk. Journal.mu must not be held.
func (j *Journal) measure() error {
	var st unix.Statfs_t
	if err := unix.Statfs(j.cfg.Dir, &st); err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", j.cfg.Dir, err)
	}
	free, total := int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &j.space
	s.free = free - int64(j.filling.bytes+j.writing) // which the disk does not know of yet
	if s.reserve = j.cfg.ReserveBytes; s.reserve == 0 {
		s.reserve = min(max(minReserve, total/50), total/4)
	}
	if s.quota = j.cfg.MaxBytes; s.quota == 0 {
		s.quota = min(defaultQuotaCap, (free+s.used)/2)
	}
	s.generation = min(j.cfg.GenerationBytes, max(leastGeneration, s.quota/4))
	s.generation = min(s.generation, max(leastEver, s.quota/2)) // one that is never finished is never given back
	return nil
}

// keep is the keeper: it has the next generations ready before the committer needs them, with all their names durable, and
// measures the disk. Where there is no room it tries again; any other error is a storage failure. It ends after the
// committer, which may need a generation to write what was appended before a Close.
func (j *Journal) keep(number uint64) {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		if n := j.stock.wanted(); n > 0 {
			gens, err := prepareGenerations(j.cfg.Dir, j.journal, number, n, j.ownRoom())
			if err != nil && !isNoRoom(err) {
				j.fail(err)
				return
			}
			number += uint64(len(gens))
			j.stock.put(gens, err)
		}
		select {
		case <-j.stock.used:
		case <-tick.C:
			if err := j.measure(); err != nil {
				j.log.Warn("measuring the disk", "error", err)
			}
			j.stock.allocate(j.ownRoom())
		case <-j.ended:
			for _, g := range j.stock.empty() {
				j.endGeneration(g)
			}
			return
		}
	}
}

func (j *Journal) ownRoom() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.space.ownRoom()
}

// Pressure is how much of what the journal may take is taken, from 0 to 1; at 1 observations are refused.
func (j *Journal) Pressure() float64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if errors.Is(j.state, ErrFull) {
		return 1
	}
	return j.space.pressure()
}

// Stats is a reading of the journal.
type Stats struct {
	Bytes        int64  // of all generations
	Quota        int64  // bytes at which observations are refused
	Free         int64  // bytes free on the disk
	Reserve      int64  // bytes of the disk that stay free
	Generations  int    // on disk
	NextIndex    uint64 // of the next record
	DurableIndex uint64
	Syncs        uint64 // batches made durable by this process
	Pressure     float64
	Err          error // why records are refused now, or nil
}

// Stats returns a reading of the journal, consistent in itself.
func (j *Journal) Stats() Stats {
	j.gens.RLock()
	n := len(j.gens.table)
	j.gens.RUnlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	st := Stats{
		Bytes: j.space.used, Quota: j.space.quota, Free: j.space.free, Reserve: j.space.reserve, Generations: n,
		NextIndex: j.index, DurableIndex: j.durable.Load(), Syncs: j.syncs.Load(), Pressure: j.space.pressure(), Err: j.state,
	}
	if errors.Is(j.state, ErrFull) {
		st.Pressure = 1
	}
	return st
}
