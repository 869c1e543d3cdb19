package wal

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// errNoRoom marks a write that the disk refused for want of room, before anything of it was synced: it can be taken back.
var errNoRoom = errors.New("no room on the disk")

// errSync marks a failed fsync.
var errSync = errors.New("fsync failed")

// goOnElsewhere takes back a batch for which there was no room, refuses it and all behind it, and begins a fresh
// generation when there is room. It returns nil when the journal ends first. Nobody is told of the refusal before the
// disk has forgotten the batch: a refused record must not come back after a crash.
func (j *Journal) goOnElsewhere(cur *generation, b *batch, cause error) *generation {
	if cur.log != nil { // the batch was being written to it
		if err := cur.cut(b.at); err != nil {
			j.failBatch(b, err)
			return nil
		}
		j.abandon(cur)
	}
	cur.tail = tail{} // with what could not be written
	j.log.Warn("the disk is full: refusing observations until there is room", "error", cause)
	j.mu.Lock()
	j.refuseLocked(b, noRoomError(cause))
	j.mu.Unlock()
	return j.resume()
}

func noRoomError(cause error) error {
	return fmt.Errorf("%w: %w: free some space; observations go on by themselves then", ErrFull, cause)
}

// refuseLocked makes the journal forget b and all that was appended behind it, as if it had never come. Journal.mu is held.
func (j *Journal) refuseLocked(b *batch, err error) {
	if j.state == nil {
		j.state = err
	}
	for _, x := range []*batch{b, j.filling} {
		x.refuse(err)
		for _, g := range x.leaving {
			delete(j.leaving, g)
		}
		j.space.appended(-int64(x.bytes))
	}
	j.index, j.accepted, j.released = b.restore.index, b.restore.accepted, b.restore.released
	j.writing = 0
	j.filling.reset()
	j.room.Broadcast()
}

// resume begins a fresh generation as soon as there is room, and takes records again; nil when the journal ends first.
func (j *Journal) resume() *generation {
	next := j.waitForRoom()
	if next == nil {
		return nil
	}
	if err := j.measure(); err != nil {
		j.log.Warn("measuring the disk", "error", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.filling.reset()
	j.beginGeneration(j.filling, next.number, 0)
	if errors.Is(j.state, ErrFull) {
		j.state = nil
		j.log.Info("the journal takes records again", "generation", next.number)
	}
	return next
}

// waitForRoom returns a fresh generation as soon as the keeper could make one, a moment after the refusal; nil when the
// journal is closed or fails first. It may have room for no more than what the journal writes on its own behalf: what
// gives space back must get through, and admit keeps the rest out.
func (j *Journal) waitForRoom() *generation {
	pause := time.NewTicker(measureEvery)
	defer pause.Stop()
	for {
		select {
		case <-j.stop:
			return nil
		case <-j.failed:
			return nil
		case <-pause.C:
		}
		if g, _ := j.stock.take(); g != nil { // where there is none, why is known
			return g
		}
	}
}

// isNoRoom tells a disk or a table that is full, which passes, from a disk that fails, which does not.
func isNoRoom(err error) bool {
	if errors.Is(err, errSync) {
		return false // the pages may be marked clean and lost: no second answer can be believed
	}
	for _, e := range []error{unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
