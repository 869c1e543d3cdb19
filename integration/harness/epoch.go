package harness

import "sync"

// Epoch says when what clients read and stores receive still counts. Its methods may be called from any goroutine; a nil
// Epoch never ends.
type Epoch struct {
	mu     sync.RWMutex
	number int
	shut   bool
}

// Shut ends the epoch, before a fault that may make the sidecar say what is not so. It waits for what is being noted.
func (e *Epoch) Shut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shut = true
	e.number++
}

// Begin begins the next epoch, when the process that may have lied is gone. Streams of the last one stay out of it.
func (e *Epoch) Begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shut = false
}

func (e *Epoch) now() int {
	if e == nil {
		return 0
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.number
}

// during runs note where epoch has not ended, and says whether it did.
func (e *Epoch) during(epoch int, note func()) bool {
	if e != nil {
		e.mu.RLock()
		defer e.mu.RUnlock()
		if e.shut || e.number != epoch {
			return false
		}
	}
	note()
	return true
}
