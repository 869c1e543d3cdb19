//go:build fault_ack_before_sync

package wal

import "time"

// durably is broken on purpose in this build: it acknowledges first and writes a little later. The crash test must find
// it out.
func durably(write func() error, publish func()) error {
	publish()
	time.Sleep(20 * time.Millisecond)
	return write()
}
