package faults

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/faults/faultfs"
	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// TestFaultNthCall fails the nth call that changes anything, for each n of a whole life: an empty directory, a hundred
// observations through several generations, delivery, release, a stop in peace. Whatever comes of it, what was acked is
// there after the power cut that follows. CI takes every eleventh. (T5, T6, T12, T13, T20, B8, B9)
func TestFaultNthCall(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for _, store := range []string{"engram", "embedded"} {
			t.Run(fmt.Sprintf("%v/%s", errno, store), func(t *testing.T) {
				t.Parallel()
				codes := map[int]int{}
				step, last := sized(11, 1), 0
				for nth := 1; ; nth += step {
					if !failNth(t, nth, errno, store == "embedded", codes) {
						break
					}
					last = nth
				}
				t.Logf("%v at every %d. call of %d: exit codes %v (-1: went on, and was ended)", errno, step, last, codes)
			})
		}
	}
}

// failNth is one life with a failing call, and one after it. It says whether the call was reached.
func failNth(t *testing.T, nth int, errno syscall.Errno, embedded bool, codes map[int]int) (fired bool) {
	t.Run(fmt.Sprint(nth), func(t *testing.T) {
		s := newStrict(t, tiny)
		r := newRig(t, harness.Binary(t), s.dir(), 2)
		if embedded {
			r.sidecar.Flags = nil
		}
		fail := newFailure(nth, errno, func(faultfs.Op, string) bool { return true })
		s.fs.SetRule(fail.rule)
		r.begin()
		r.sidecar.Exec()
		code := r.live(60)
		select {
		case <-fail.fired:
			fired = true
		default:
		}
		if fired {
			codes[code]++
			t.Logf("%v: exit code %d", fail, code)
			if errno == syscall.EIO && code != 74 && code != 0 && code != -1 {
				t.Errorf("%v: exit code %d, expected 74, or a life that goes on", fail, code)
			}
		}
		s.fs.SetRule(nil)
		r.faults++
		r.power(s, s.fs.Image(faultfs.Nothing))
		r.start()
		if embedded {
			r.judgeEmbedded()
		} else {
			r.judge()
		}
	})
	return fired && !t.Failed()
}

// live waits until so many observations are acked and, where that is to be had, delivered, and stops the sidecar in peace.
// It returns the exit code; -1 where the process had to be killed.
func (r *rig) live(acks int) int {
	deadline := time.After(5 * time.Second)
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-r.sidecar.Ended():
			return r.sidecar.ExitCode()
		case <-deadline:
			return r.sidecar.StopWithin(15 * time.Second)
		case <-every.C:
		}
		if r.oracle.Judge().Acked < acks {
			continue
		}
		return r.sidecar.StopWithin(15 * time.Second)
	}
}
