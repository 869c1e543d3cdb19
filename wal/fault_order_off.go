//go:build !fault_ack_before_sync

package wal

// durably runs write, and publish only where it succeeded: an ack never rests on what a crash could still lose.
func durably(write func() error, publish func()) error {
	if err := write(); err != nil {
		return err
	}
	publish()
	return nil
}
