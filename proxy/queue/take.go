package queue

import (
	"context"
	"time"
)

// Take appends between 1 and limit references to dst and returns it, waiting until there is one. It returns ctx's error
// when ctx ends first, whatever waits, and ErrClosed after Close; dst is then unchanged.
func (q *Queue) Take(ctx context.Context, limit int, dst []Ref) ([]Ref, error) {
	asleep := false
	for {
		if err := ctx.Err(); err != nil {
			return dst, q.leave(asleep, err)
		}
		taken, err := q.tryTake(limit, dst, &asleep)
		if err != nil || len(taken) > len(dst) {
			return taken, err
		}
		select {
		case <-q.wake:
		case <-q.done:
		case <-ctx.Done():
		}
	}
}

// tryTake takes what is there; when nothing is, it counts the caller among the sleepers.
func (q *Queue) tryTake(limit int, dst []Ref, asleep *bool) ([]Ref, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := dst
	if !q.closed {
		taken = q.pickLocked(limit, dst)
		if len(taken) == len(dst) {
			if !*asleep {
				*asleep = true
				q.sleepers++
			}
			return dst, nil
		}
	}
	if *asleep {
		q.sleepers--
	}
	if q.closed {
		return dst, ErrClosed
	}
	if q.sleepers > 0 && !q.emptyLocked() {
		q.wakeLocked()
	}
	return taken, nil
}

// leave ends a Take that gives up: the token it may have been meant for goes to the next sleeper.
func (q *Queue) leave(asleep bool, err error) error {
	if !asleep {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sleepers--
	if !q.emptyLocked() {
		q.wakeLocked()
	}
	return err
}

func (q *Queue) emptyLocked() bool {
	for i := range q.lanes {
		if q.lanes[i].waiting > 0 {
			return false
		}
	}
	return true
}

// pickLocked moves up to limit references from the lanes to dst.
func (q *Queue) pickLocked(limit int, dst []Ref) []Ref {
	// Pushed at or before this second means: certainly older than the limit.
	aged := q.now().Add(-q.cfg.AgeingLimit - 1).Unix()
	for n := 0; n < limit || n == 0; n++ {
		i := q.nextLocked(aged)
		if i < 0 {
			break
		}
		l := &q.lanes[i]
		index, second := l.pop()
		l.taken++
		dst = append(dst, Ref{Index: index, Lane: i, At: time.Unix(second, 0)})
	}
	return dst
}

// nextLocked chooses the lane of the next slot, or -1 when all are empty: the highest that holds something, unless a lower
// one whose head came at or before the second aged has watched AgeingShare-1 slots go to others. Of two such the lower.
func (q *Queue) nextLocked(aged int64) int {
	highest, due := -1, -1
	for i := range q.lanes {
		l := &q.lanes[i]
		switch {
		case l.waiting == 0:
			q.credit[i] = 0
		case highest < 0:
			highest = i
			q.credit[i] = 0
		case l.headSecond() > aged:
			q.credit[i] = 0
		default:
			q.credit[i]++
			if q.credit[i] >= q.cfg.AgeingShare {
				due = i
			}
		}
	}
	if due < 0 {
		return highest
	}
	q.credit[due] -= q.cfg.AgeingShare
	return due
}
