// Package faultfs is a file system in memory, mounted by FUSE, that keeps after a power cut what POSIX promises and no more:
// the bytes of a file that were fsynced, under names whose directory was fsynced. Everything else is kept or lost at the
// will of the test. Any call can be made to fail. A failed fsync does what Linux does: the pages count as clean from then
// on, and a second fsync answers success without them.
//
// What it promises: Image is what a disk would hold at that moment, taken at once. Mounting an Image gives a file system
// whose page cache knows nothing of the one before. mmap works as far as reading goes, which is what bbolt needs.
//
// What it assumes: root or fusermount3, /dev/fuse, and that the test process itself keeps no file of it open.
//
// Goroutines: the server's, which Unmount waits for. A crash of the test process leaves a mount that answers ENOTCONN.
package faultfs
