//go:build fault_no_sync

package wal

import tidwall "github.com/tidwall/wal"

// syncSegment is broken on purpose in this build: what is acknowledged may be in the page cache alone. The power cut test
// must find it out.
func syncSegment(*tidwall.Log) error { return nil }

func syncNames(dir string) error { return SyncDir(dir) }
