//go:build fault_retry_sync

package wal

import tidwall "github.com/tidwall/wal"

// syncSegment is broken on purpose in this build: it asks again after a failure, and believes the answer. Linux has marked
// the pages clean by then. The test of failing fsyncs must find it out.
func syncSegment(log *tidwall.Log) error {
	if err := log.Sync(); err != nil {
		return log.Sync()
	}
	return nil
}

func syncNames(dir string) error { return SyncDir(dir) }
