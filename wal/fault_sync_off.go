//go:build !fault_no_sync && !fault_no_dirsync && !fault_retry_sync

package wal

import tidwall "github.com/tidwall/wal"

func syncSegment(log *tidwall.Log) error { return log.Sync() }

func syncNames(dir string) error { return SyncDir(dir) }
