//go:build spoil_freed

package wal

// spoil overwrites memory that nobody may read any more: this build is for tests, and whoever does reads nonsense.
func spoil(b []byte) {
	b = b[:cap(b)]
	for i := range b {
		b[i] = 0xDB
	}
}
